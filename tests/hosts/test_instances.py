"""Two apps on one host: each has all of its own, and nothing that happens to one reaches the other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.rig.managers import PROCESSES
from tests.rig.record import DOCS
from tests.rig.second import NAME, POOL, Second
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.hosts import Host

pytestmark = pytest.mark.inits("systemd", slowly=("sysvinit", "supervisor"))
FOREIGN = (
    f"find /etc /opt /run /usr/local /var/lib /var/log -name '*celery*-{NAME}*' "
    f"-not -path '/var/lib/systemd/*'; find /etc/redis /var/lib/redis -name '*{NAME}*'"
)


@pytest.fixture(scope="module")
def second(machine: Host) -> Second:
    """An app beside the one that the machine has."""
    app = Second(machine)
    done = app.deploy()
    assert done.code == 0, done.text
    return app


@pytest.fixture
def both(site: Host, second: Second) -> Iterator[Second]:
    """Both apps, with no job anywhere."""
    second.ledger.clear()
    yield second
    assert site.ledger.account().starts.keys() <= site.ledger.account().accepted
    assert second.ledger.account().starts.keys() <= second.ledger.account().accepted


def pids(host: Host) -> list[int]:
    """Return the processes of the first app, and its broker's."""
    return [*(host.pid(process) for process in PROCESSES), host.broker_pid()]


def test_a_restart_of_one_app_leaves_the_other(site: Host, both: Second) -> None:
    """Under load, neither loses a job, runs one of the other's, or starts one twice."""
    before = pids(site)
    site.client.work(40, 0.2)
    both.client.work(40, 0.2)
    site.sh(both.restart())
    site.assert_nothing_lost()
    until(lambda: not both.ledger.account().lost, 120, lambda: str(both.ledger.account()))
    assert pids(site) == before
    assert not both.ledger.account().started_twice


def test_a_killed_worker_of_one_app_leaves_the_other(site: Host, both: Second) -> None:
    """Its own jobs run again by its own worker."""
    before = pids(site)
    site.client.work(10, 0.2)
    both.client.work(10, 0.5)
    until(lambda: both.ledger.account().running, 60, "a running job")
    site.sh(f"kill -s KILL {both.pid()}")
    site.assert_nothing_lost()
    until(lambda: not both.ledger.account().lost, 120, lambda: str(both.ledger.account()))
    assert pids(site) == before


def test_each_app_has_a_command_that_speaks_of_it(site: Host, both: Second) -> None:
    """`celerykit` of the first, `celerykit-shop` of the other, whoever calls it and from wherever."""
    assert {line.split()[0] for line in site.sh("celerykit status").splitlines()} == {"default", "imports"}
    assert [line.split()[0] for line in site.sh(f"celerykit-{NAME} status").splitlines()] == [POOL]
    for command, app in (("celerykit", "plain"), (f"celerykit-{NAME}", "second")):
        # The app itself is not found from there, so the exit code is another.
        assert f"CELERY_APP={app} " in site.run(f"cd /opt && {command} worker {POOL} --explain")[1]


def test_no_secret_of_one_app_is_the_other_s(site: Host, both: Second) -> None:
    """Each has a user of its own, whose files the other cannot read."""
    for user, other in (("celery", f"celery-{NAME}"), (f"celery-{NAME}", "celery")):
        assert site.run(f"runuser -u {user} -- cat /etc/{user}/broker-url")[0] == 0
        assert site.run(f"runuser -u {user} -- cat /etc/{other}/broker-url")[0] != 0
    assert site.sh(f"ps -o user:20= -p {both.pid()}").strip() == f"celery-{NAME}"


def test_a_second_deployment_of_either_changes_nothing(site: Host, both: Second) -> None:
    """And restarts nothing of the other."""
    before = [*pids(site), both.pid()]
    for play in (both.deploy(), site.deploy()):
        assert play.code == 0, play.text
        assert play.changed() == 0, play.text
    assert [*pids(site), both.pid()] == before


def test_what_both_would_share_is_refused(site: Host, both: Second) -> None:
    """A broker, before anything is touched: each would take the other's jobs."""
    said = both.deploy(celery_broker_url="redis://celery:{{ redis_password }}@localhost").refusal()
    for word in ("celery_broker_url", "/etc/celery/broker-url", "redis_port"):
        assert word in said


@pytest.mark.inits("systemd")
def test_a_server_that_both_would_share_is_refused(site: Host, both: Second) -> None:
    """The port of the first one's Redis, and RabbitMQ, of which a host has one."""
    said = both.deploy(redis_port=6379).refusal()
    for word in ("redis_port=6379", "/etc/redis/redis.conf", "redis_port: 6380"):
        assert word in said
    said = both.deploy(celery_broker="rabbitmq").refusal()
    for word in (f"celery_instance={NAME}", "celery_broker=rabbitmq", "a virtual host"):
        assert word in said


@pytest.mark.inits("sysvinit", "supervisor")
@pytest.mark.slow
def test_a_server_of_its_own_that_nobody_would_start_is_refused(site: Host, both: Second) -> None:
    """With the way to share the first one's."""
    play = both.deploy(with_broker=True)
    for word in (f"redis_instance={NAME}", "systemd", "redis://celery:PASSWORD@127.0.0.1:6379/2"):
        assert word in play.refusal()


@pytest.mark.inits("systemd")
def test_one_app_is_removed_and_the_other_goes_on(site: Host, second: Second) -> None:
    """By the documented commands, which leave nothing of it."""
    before = pids(site)
    done = second.deploy(celery_workers=[], celery_beat=False, celery_flower=False)
    assert done.code == 0, done.text
    text = (DOCS / "hosts.md").read_text(encoding="utf-8").partition("## Several apps on one host")[2]
    for command in re.findall(r"^# (.*)", text.partition("```console\n")[2].partition("```")[0], re.MULTILINE):
        site.sh(command)
    assert site.run(FOREIGN)[1] == ""
    assert site.run(f"id celery-{NAME}")[0] != 0
    site.client.work(5, 0.1)
    site.assert_nothing_lost()
    assert pids(site) == before
