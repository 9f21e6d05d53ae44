"""What an operator's verbs do to the pools of a host."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.hosts import Host

POOLS = ("default", "imports")
STATUS = "/opt/celery/venv/bin/celerykit status"


def pids(host: Host) -> dict[str, int]:
    """Return the main process of each pool."""
    return {pool: host.pid(pool) for pool in POOLS}


@pytest.mark.parametrize("name", ["celeryd", "celery"])
def test_start_returns_when_every_pool_consumes(host: Host, name: str) -> None:
    """`systemctl start celeryd`, or celery, is not done before jobs are."""
    host.sh("systemctl stop celeryd")
    host.sh(f"systemctl start {name}")
    assert [host.ready(pool) for pool in POOLS] == [True, True]
    assert host.sh(f"systemctl is-active {name} 'celeryd@*'").split() == ["active"] * 3
    assert "2 of 2 pools run: default, imports" in host.sh(f"systemctl status {name}")


def test_stop_returns_when_every_pool_has_drained(host: Host) -> None:
    """Running jobs end, waiting jobs wait, and no process is left."""
    host.client.work(6, 3.0)
    host.wait_running(4)
    host.sh("systemctl stop celeryd")
    account = host.ledger.account()
    assert not account.running and 4 <= len(account.done) <= 6, str(account)
    assert pids(host) == {"default": 0, "imports": 0}
    assert host.run("systemctl is-active celeryd")[1].strip() == "inactive"
    host.sh("systemctl start celeryd")
    host.assert_nothing_lost()


def test_restart_replaces_every_enabled_pool_and_loses_nothing(host: Host) -> None:
    """`systemctl restart celeryd` under load: each pool is new and ready, each job was done once."""
    before = pids(host)
    host.client.work(16, 1.0)
    host.wait_running(4)
    host.sh("systemctl restart celeryd")
    assert all(host.pid(pool) not in {0, before[pool]} for pool in POOLS)
    assert [host.ready(pool) for pool in POOLS] == [True, True]
    host.assert_nothing_lost()


def test_reload_leaves_some_worker_consuming_at_every_moment(host: Host) -> None:
    """`systemctl reload celeryd` restarts one pool after the other; nothing is lost, nothing is run twice."""
    before = pids(host)
    ended, seen = threading.Event(), []

    def watch() -> None:
        while not ended.is_set():
            seen.append([host.ready(pool) for pool in POOLS])

    host.client.work(24, 0.7)
    host.wait_running(4)
    watcher = threading.Thread(target=watch)
    watcher.start()
    host.sh("systemctl reload celeryd")
    ended.set()
    watcher.join()
    assert all(any(pools) for pools in seen) and len(seen) > 3, seen
    assert [False, True] in seen or [True, False] in seen, "no restart was seen, so this proves nothing"
    assert all(host.pid(pool) not in {0, before[pool]} for pool in POOLS)
    host.assert_nothing_lost()


def test_one_pool_restarts_alone(host: Host) -> None:
    """`systemctl restart celeryd@imports` leaves the other pool's process as it is."""
    before = pids(host)
    host.client.work(8, 1.0)
    host.wait_running(2)
    host.sh("systemctl restart celeryd@imports")
    assert host.ready("imports")
    after = pids(host)
    assert after["default"] == before["default"] and after["imports"] != before["imports"]
    host.assert_nothing_lost()


def test_reload_of_one_pool_is_refused_and_harms_nothing(host: Host) -> None:
    """A worker has nothing to reload in place: systemd says so, and reload-or-restart restarts it."""
    before = pids(host)
    code, said = host.run("systemctl reload celeryd@imports")
    assert code != 0 and "not applicable" in said
    assert pids(host) == before
    host.sh("systemctl reload-or-restart celeryd@imports")
    assert host.ready("imports") and host.pid("imports") != before["imports"]


def test_a_pool_stopped_by_hand_is_started_by_start(host: Host) -> None:
    """`start celeryd` on a running umbrella brings a stopped pool back; meanwhile the status tells."""
    host.sh("systemctl stop celeryd@imports")
    wanted = "1 of 2 pools run; not: imports is inactive"
    until(lambda: wanted in host.show("celeryd", "StatusText"), 15, lambda: host.show("celeryd", "StatusText"))
    assert host.run(STATUS)[0] == 1
    host.sh("systemctl start celeryd")
    until(lambda: host.ready("imports"), 20, "the pool")
    assert host.sh("systemctl is-active celeryd@imports").strip() == "active"


def test_a_pool_that_cannot_start_takes_nobody_with_it(host: Host) -> None:
    """The umbrella is up for the healthy pool and names the dead one; once mended, `start` brings it up."""
    host.pool("imports", CELERY_WORKER_CONCURENCY=3)
    host.sh("systemctl restart celeryd")
    assert "1 of 2 pools run; not: imports is activating (exit code 78" in host.show("celeryd", "StatusText")
    assert host.ready("default")
    assert "active" not in host.run("systemctl is-active celeryd@imports")[1].split()
    until(lambda: "exit code 78" in host.run(STATUS)[1], 20, lambda: host.run(STATUS)[1])  # between two attempts
    assert host.run(STATUS)[0] == 1
    assert "CELERY_WORKER_CONCURRENCY" in host.journal("celeryd@imports")
    host.pool("imports")
    host.sh("systemctl start celeryd")
    until(lambda: host.run(STATUS)[0] == 0, 20, lambda: host.run(STATUS)[1])


def test_the_umbrella_fails_when_no_pool_starts(host: Host) -> None:
    """`restart` says so with its exit code; stop still stops what starts by itself; `start` mends it."""
    for pool in POOLS:
        host.pool(pool, CELERY_WORKER_CONCURENCY=3)
    assert host.run("systemctl restart celeryd")[0] != 0
    assert host.run("systemctl is-active celeryd")[1].strip() == "failed"
    assert "no pool started" in host.journal("celeryd")
    assert host.run("systemctl reload celeryd")[0] != 0
    host.sh("systemctl stop celeryd")
    until(
        lambda: host.run("systemctl is-active 'celeryd@*'")[1].split() in ([], ["inactive"] * 2), 10, "the end of all"
    )
    for pool in POOLS:
        host.pool(pool)
    host.sh("systemctl start celeryd")
    assert [host.ready(pool) for pool in POOLS] == [True, True]


def test_restart_works_while_the_broker_is_away(host: Host) -> None:
    """A start waits for the broker, and is done when the pools consume."""
    host.sh("systemctl stop redis-server")
    restart = threading.Thread(target=host.run, args=["systemctl restart celeryd"])
    restart.start()
    time.sleep(8)
    assert "connecting to the broker" in host.show("celeryd@imports", "StatusText")
    assert host.run("systemctl is-active celeryd@imports")[1].strip() == "activating"
    host.sh("systemctl start redis-server")
    restart.join(30)
    assert not restart.is_alive()
    assert [host.ready(pool) for pool in POOLS] == [True, True]


def test_a_killed_umbrella_comes_back_and_no_pool_notices(host: Host) -> None:
    """Its helper process is no single point of failure: running jobs go on in the same processes, the status is kept."""
    before, helper = pids(host), host.show("celeryd", "MainPID")
    host.client.work(12, 1.0)
    host.wait_running(4)
    host.sh(f"kill -KILL {helper}")
    until(lambda: host.show("celeryd", "MainPID") not in {"0", helper}, 60, "another helper")
    until(lambda: host.run("systemctl is-active celeryd")[1].strip() == "active", 60, "the umbrella")
    host.assert_nothing_lost()
    assert pids(host) == before
    host.sh("systemctl stop celeryd@imports")
    wanted = "1 of 2 pools run; not: imports is inactive"
    until(lambda: wanted in host.show("celeryd", "StatusText"), 60, lambda: host.show("celeryd", "StatusText"))
