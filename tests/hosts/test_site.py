"""What `ansible-playbook site.yml` does to an empty machine, and to one that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig import collection
from tests.rig.hosts import VARIABLES
from tests.rig.managers import POOLS, POSTGRESQL, PROCESSES, RABBITMQ, REDIS, VALKEY
from tests.rig.waiting import meanwhile, until

if TYPE_CHECKING:
    from tests.rig.hosts import Host

pytestmark = pytest.mark.inits("systemd", slowly=("sysvinit", "supervisor"))
EVERYWHERE = pytest.mark.inits("systemd", "sysvinit", "supervisor")
ON_EACH_BROKER = pytest.mark.inits("systemd", "sysvinit", "supervisor", "rabbitmq", "postgresql", slowly=("valkey",))
UNITS = ("celeryd", "celeryd@default", "celeryd@imports", "celerybeat", "celery-flower")
USERS = {
    REDIS: ("/etc/redis/users.acl", "redis"),
    VALKEY: ("/etc/valkey/users.acl", "valkey"),
    RABBITMQ: ("/etc/rabbitmq/definitions.json", "rabbitmq"),
    POSTGRESQL: ("/etc/postgresql/17/celery/users.sql", "postgres"),
}
"""Where the users of a broker are, and the group that reads that."""
ASK = """
import redis, sys
url = open(sys.argv[1]).read().strip()
trusting = {"ssl_ca_certs": "/etc/celery/ca.pem"} if url.startswith("rediss") else {}
redis.Redis.from_url(url, **trusting).execute_command(*sys.argv[2:])
"""
STATUS = "/opt/celery/venv/bin/celerykit status"


def pids(host: Host) -> dict[str, int]:
    """Return the main process of each pool, of beat, Flower and the broker."""
    return {**{process: host.pid(process) for process in PROCESSES}, host.broker: host.broker_pid()}


def workers(**options: Any) -> list[dict[str, Any]]:
    """Return the usual pools, the second of them with these keys."""
    default, imports = VARIABLES["celery_workers"]
    return [default, {**imports, **options}]


def release(host: Host) -> str:
    """Return the folder of the release that is current."""
    return host.sh("readlink --canonicalize /opt/celery/app/current")


@ON_EACH_BROKER
def test_an_empty_machine_is_checked_without_a_change(machine: Host) -> None:
    """`--check --diff` goes to its end before any package, user or unit is there, and leaves no trace."""
    assert machine.asked.code == 0, machine.asked.text
    assert machine.asked.changed() > 0
    assert [path for path in machine.written_when_asked if not path.startswith("/var/lib/apt")] == []


@ON_EACH_BROKER
def test_an_empty_machine_works_after_one_run(machine: Host) -> None:
    """Broker, two pools, beat and Flower run, are there after a boot, and were started once."""
    assert machine.first.code == 0 and machine.first.changed() > 0
    print(f"converged in {machine.first.seconds:.0f} s, again in {machine.second.seconds:.0f} s")
    if machine.manager.name != "systemd":
        assert ("starts nothing at boot" in machine.first.text) is (machine.manager.name == "supervisor")
        return
    started = re.findall(r"^Started ([\w@-]+)\.service", machine.said, flags=re.MULTILINE)
    assert sorted(started) == sorted((*UNITS, machine.broker)), machine.said


@ON_EACH_BROKER
def test_a_second_run_changes_nothing(machine: Host) -> None:
    """Who runs the playbook each night restarts nothing."""
    assert (machine.second.code, machine.second.changed()) == (0, 0), machine.second.text


@pytest.mark.inits("systemd", slowly=("bookworm",))
def test_the_collection_deploys_alike(site: Host, tmp_path: Path) -> None:
    """Whoever goes from a clone of the repository to the collection changes no file, and restarts nothing."""
    collection.install(tmp_path)
    done = site.deploy_from(tmp_path)
    assert (done.code, done.changed()) == (0, 0), done.text


@ON_EACH_BROKER
def test_everything_is_enabled_and_runs(site: Host) -> None:
    """As the init system says, and the kit itself."""
    assert all(pids(site).values())
    assert all(map(site.manager.is_on, PROCESSES))
    assert site.sh(STATUS).count("ready") == len(POOLS)
    site.client.work(4, 0.1)
    site.assert_nothing_lost()


@ON_EACH_BROKER
def test_a_password_is_in_its_file_and_nowhere_else(site: Host) -> None:
    """Only root and celery read it; no process, unit, journal or run of the playbook shows it; brokers have a hash."""
    for name in ("broker-url", "result-backend")[: 1 if site.broker == RABBITMQ else 2]:
        assert site.sh(f"stat -c '%a %U:%G' /etc/celery/{name}").strip() == "640 root:celery"
        assert site.password in site.sh(f"cat /etc/celery/{name}")
    assert site.sh("stat -c '%a %U:%G' /etc/celery").strip() == "750 root:celery"
    users, group = USERS[site.broker]
    assert site.sh(f"stat -c '%a %U:%G' {users}").strip() == f"640 root:{group}"
    # A process may end while it is looked at: what cat says of it is not asked.
    shown = site.sh("ps -ef; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
    shown += site.run("cat /var/log/celery/*.log /var/log/celery/*/current /var/log/supervisor/*")[1]
    if site.manager.name == "systemd":
        shown += site.sh(f"journalctl --no-pager; systemctl show 'celery*' {site.broker}")
    shown += "".join(play.text for play in (site.asked, site.first, site.second))
    assert site.password not in shown
    files = site.sh(f"grep --recursive --files-with-matches --fixed-strings {site.password} /etc /opt /var /root /home")
    # The last is an operator's, for root alone.
    readers = {"broker-url", "result-backend", "flower-basic-auth", "operator.conf"}
    assert {Path(path).name for path in files.split()} <= readers


@pytest.mark.inits("systemd", slowly=("valkey",))
@pytest.mark.parametrize(
    ("file", "refused", "allowed"),
    [
        ("broker-url", "GET celery-task-meta-1", "LLEN celery"),
        ("broker-url", "DEL celery-task-meta-1", "INFO memory"),
        ("result-backend", "LPUSH celery x", "GET celery-task-meta-1"),
        ("result-backend", "LRANGE celery 0 -1", "EXISTS celery-taskset-meta-1.c"),
    ],
)
def test_whoever_has_one_url_of_redis_has_not_the_other(site: Host, file: str, refused: str, allowed: str) -> None:
    """Who reads results touches no job, and who sends jobs reads no result."""
    ask = f"/opt/celery/venv/bin/python -c '{ASK}' /etc/celery/{file}"
    assert "NoPermissionError" in site.run(f"{ask} {refused}")[1]
    code, answer = site.run(f"{ask} {allowed}")
    assert code == 0, answer


@EVERYWHERE
def test_nothing_of_the_network_stays(site: Host) -> None:
    """The extra CA served the installation, and no unit, env file or log names it."""
    found = site.run("grep -rl -e ca_bundle -e SSL_CERT_FILE -e BEGIN.CERT /etc/celery /etc/systemd /opt/celery/app")[1]
    assert found == ""
    assert site.run("ls -A /opt/celery/incoming")[1].count("\n") <= 1


def test_a_change_is_foretold(site: Host) -> None:
    """`--check --diff` on a machine that works shows what would change, and changes nothing."""
    before, file = pids(site), site.sh("cat /etc/celery/worker-imports.env")
    play = site.deploy("--check", "--diff", celery_workers=workers(options={"concurrency": 1}))
    assert play.code == 0 and play.changed() > 0, play.text
    assert "+CELERY_WORKER_CONCURRENCY=1" in play.text
    assert (pids(site), site.sh("cat /etc/celery/worker-imports.env")) == (before, file)


@EVERYWHERE
def test_a_changed_option_restarts_its_pool_and_no_other(site: Host) -> None:
    """Another concurrency and a limit of one pool: its process is new, all others are the same, no job is lost."""
    limits = {"limits": {"MemoryMax": "512M", "Nice": 5}} if site.manager.name == "systemd" else {}
    before, wanted = pids(site), workers(options={"concurrency": 3}, **limits)
    with site.client.load():
        site.wait_running(4)
        play = site.deploy("--tags", "celery", celery_workers=wanted)
    assert play.code == 0, play.text
    after = pids(site)
    assert {process for process in before if after[process] != before[process]} == {"imports"}
    if limits:
        assert site.show("celeryd@imports", "MemoryMax") == str(512 * 1024**2)
        assert site.sh(f"ps -o nice= -p {site.pid('imports')}").strip() == "5"
        assert site.show("celeryd@default", "MemoryMax") == "infinity"
    site.assert_nothing_lost()


def test_a_release_of_the_app_comes_into_effect_and_loses_nothing(site: Host) -> None:
    """`--tags app` under load: one pool after the other runs the new code, and no job is lost or run twice."""
    before, old = pids(site), release(site)
    seen: list[list[bool]] = []
    with site.client.load(), meanwhile(lambda: seen.append([site.ready(pool) for pool in POOLS])):
        site.wait_running(4)
        with (site.app / "plain.py").open("a") as code:
            code.write("# The new release.\n")
        play = site.deploy("--tags", "app")
    assert play.code == 0, play.text
    after = pids(site)
    assert {process for process in before if after[process] != before[process]} == {*PROCESSES}
    assert all(any(pools) for pools in seen), seen
    assert any(not all(pools) for pools in seen), "no restart was seen, so this proves nothing"
    assert release(site) != old
    assert {site.sh(f"readlink /proc/{site.pid(pool)}/cwd") for pool in POOLS} == {release(site)}
    site.assert_nothing_lost()


def test_a_pool_that_leaves_the_list_is_drained_and_removed(site: Host) -> None:
    """Its running jobs end, its files are gone, the manager knows it no more, and its neighbour was not touched."""
    before = pids(site)
    with site.client.load():
        site.wait_running(4)
        play = site.deploy("--tags", "celery", celery_workers=VARIABLES["celery_workers"][:1])
    assert play.code == 0, play.text
    assert pids(site) == {**before, "imports": 0}
    assert "worker-imports.env" not in site.sh("ls /etc/celery")
    assert "imports" not in site.sh(site.manager.listing)
    site.assert_nothing_lost()


def test_what_was_changed_by_hand_is_put_right(machine: Host) -> None:
    """Pools that are stopped and disabled, and files that are edited, are as the inventory says after the next run."""
    machine.sh(machine.manager.switched_off)
    machine.sh("echo CELERY_WORKER_CONCURRENCY=7 >>/etc/celery/worker-default.env")
    machine.sh("echo appendonly no >>/etc/redis/redis.conf; chmod 0644 /etc/redis/users.acl")
    play = machine.deploy()
    assert play.code == 0, play.text
    assert machine.sh("cat /etc/celery/worker-default.env") == machine.pool_text("default")
    assert "appendonly no" not in machine.sh("cat /etc/redis/redis.conf")
    assert machine.sh("stat -c %a /etc/redis/users.acl").strip() == "640"
    until(lambda: all(map(machine.ready, POOLS)), 90, "both pools")
    assert all(map(machine.manager.is_on, PROCESSES))
    assert machine.client.ping()


@pytest.mark.slow
@ON_EACH_BROKER
def test_another_password_reaches_broker_and_workers(site: Host) -> None:
    """One run gives it to the broker and to every process; jobs that wait meanwhile are done."""
    old, site.password = site.password, site.password[::-1]
    try:
        site.client.work(12, 1.0)
        play = site.deploy()
        assert play.code == 0, play.text
        site.assert_nothing_lost(twice=4)
        site.client = site._client()
        assert site.client.ping()
    finally:
        site.password = old
        site.deploy()
        site.client = site._client()
