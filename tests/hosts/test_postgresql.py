"""PostgreSQL on a host: who gets in, what brings it back, and what a deployment does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.rig.hosts import OTHERWISE, PSQL, VARIABLES
from tests.rig.managers import POSTGRESQL
from tests.rig.playing import play
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.hosts import Host

pytestmark = pytest.mark.inits("postgresql")
URLS = "CELERY_BROKER_URL=$(cat /etc/celery/broker-url) CELERY_RESULT_BACKEND=$(cat /etc/celery/result-backend)"
ASK = "import plain; print(plain.app.send_task('jobs.bound').get(timeout=60))"


def asked(host: Host, query: str) -> str:
    """Return what an operator is told by the server."""
    return host.sh(f'cd /; {PSQL} -c "{query}"').strip()


def refusal(url: str) -> str:
    """Return why somebody from outside does not get in."""
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(url.replace("pgmq://", "postgresql://"), connect_timeout=5)
    return str(caught.value)


def test_nobody_gets_in_but_the_user_of_celery_by_tls(site: Host) -> None:
    """Neither in the clear, nor with another password, nor as another user, nor into another database."""
    url = site.client.url
    assert "no encryption" in refusal(url.replace("verify-full", "disable"))
    assert "password authentication failed" in refusal(url.replace(site.password, "wrong"))
    assert "no pg_hba.conf entry" in refusal(url.replace("//celery:", "//postgres:"))
    assert "no pg_hba.conf entry" in refusal(url.replace("/celery?", "/postgres?"))


def test_what_was_accepted_is_on_disk(site: Host) -> None:
    """The server says of itself that it writes before it answers, and an operator sees the queue."""
    settings = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
    assert [asked(site, f"SHOW {name}") for name in settings] == ["on"] * len(settings)
    assert asked(site, "SELECT queue_name FROM pgmq.metrics_all() WHERE queue_name = 'celery'") == "celery"


def test_it_comes_back_whenever_it_ends(site: Host) -> None:
    """Whoever ends it by hand, in good order, finds another in a second or two; and no pool was restarted."""
    before, server = site.pid("default"), site.broker_pid()
    site.client.work(8, 0.5)
    site.wait_running()
    site.sh(f"kill -INT {server}")
    until(lambda: site.broker_pid() not in {0, server} and site.client.ping(), 30, "another server")
    site.assert_nothing_lost(twice=4)
    assert site.pid("default") == before


@pytest.mark.slow
def test_more_memory_restarts_the_server_alone(site: Host) -> None:
    """No pool is restarted for what it does not read, and jobs that wait meanwhile are done."""
    before, server = site.pid("default"), site.broker_pid()
    site.client.work(12, 1.0)
    done = site.deploy("--tags", "postgresql", postgresql_memory="64MB")
    assert done.code == 0 and done.changed() == 2, done.text
    assert asked(site, "SHOW shared_buffers") == "64MB"
    site.assert_nothing_lost(twice=4)
    assert site.pid("default") == before and site.broker_pid() != server
    site.deploy("--tags", "postgresql")


@pytest.mark.slow
def test_a_right_that_was_given_by_hand_is_taken_back(site: Host) -> None:
    """Another run leaves the user of Celery what it needs, and says that it changed something."""
    asked(site, "ALTER ROLE celery SUPERUSER")
    done = site.deploy("--tags", "postgresql")
    assert (done.code, done.changed()) == (0, 1), done.text
    assert asked(site, "SELECT rolsuper FROM pg_roles WHERE rolname = 'celery'") == "f"


@pytest.mark.slow
def test_another_cluster_of_the_host_is_left_alone(site: Host) -> None:
    """What it has for others goes on as it was, and its port is refused by name."""
    site.sh("pg_createcluster --port=5433 --start 17 theirs")
    try:
        files = "find /etc/postgresql/17/theirs -type f -printf '%p %s %T@\\n' | sort"
        before = site.sh(files), site.show("postgresql@17-theirs", "MainPID")
        assert site.deploy("--tags", "postgresql").changed() == 0
        refused = site.deploy("--tags", "postgresql", postgresql_port=5433).refusal()
        assert "postgresql_port=5433" in refused and "17/theirs" in refused, refused
        assert (site.sh(files), site.show("postgresql@17-theirs", "MainPID")) == before
    finally:
        site.sh("pg_dropcluster --stop 17 theirs")


@pytest.mark.slow
def test_the_data_of_another_release_are_not_left_behind(site: Host) -> None:
    """After an upgrade of Debian an empty server would start beside them: that is refused, with how to move them."""
    folder = "/etc/postgresql/15/celery"
    site.sh(f"mkdir -p {folder} && echo \"data_directory = '/var/lib/postgresql'\" >{folder}/postgresql.conf")
    try:
        said = site.deploy("--tags", "postgresql").refusal()
        assert "jobs and results are in PostgreSQL 15" in said and "pg_upgradecluster 15 celery" in said, said
    finally:
        site.sh(f"rm -r {folder}")


@pytest.mark.slow
@pytest.mark.inits("systemd")
def test_results_are_in_postgresql_beside_redis(site: Host) -> None:
    """The broker's host in the group `backends` gets a PostgreSQL, too, and a job's result is read from there."""
    results = {
        "celery_results": "postgresql",
        "celery_result_backend": OTHERWISE[POSTGRESQL]["celery_result_backend"],
        "postgresql_password": site.password,
    }
    inventory = site.inventory({"host": results})
    done = play({**inventory, "backends": inventory["brokers"]}, site.folder)
    assert done.code == 0, done.text
    ask = f'{URLS} CELERY_LOADER=celerykit.loader:Loader /opt/celery/venv/bin/python -c "{ASK}"'
    assert "'acks_late': True" in site.sh(f"cd /opt/celery/app/current && {ask}")
    assert site.sh("cat /etc/celery/result-backend").startswith("db+postgresql")
    site.deploy()
    assert site.sh("cat /etc/celery/result-backend").startswith(VARIABLES["celery_result_backend"][:8])
