"""What an operator's verbs do to the pools of a host."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest

from tests.rig.managers import POOLS
from tests.rig.waiting import meanwhile, until

if TYPE_CHECKING:
    from tests.rig.hosts import Host

EVERYWHERE = pytest.mark.inits("systemd", "sysvinit", "supervisor")
APP = "/opt/celery/app/current"
STATUS = "/opt/celery/venv/bin/celerykit status"


def pids(host: Host) -> dict[str, int]:
    """Return the main process of each pool."""
    return {pool: host.pid(pool) for pool in POOLS}


def wait_umbrella_says(host: Host, text: str) -> None:
    """Wait for a text in the status of the umbrella."""
    until(lambda: text in host.show("celeryd", "StatusText"), 60, lambda: host.show("celeryd", "StatusText"))


def wait_pool_says(host: Host, text: str) -> None:
    """Wait for a text in the status of the pool `imports`."""
    until(lambda: text in host.show("celeryd@imports", "StatusText"), 90, lambda: host.journal("celeryd@imports"))


def test_start_returns_when_every_pool_consumes(host: Host) -> None:
    """`systemctl start celeryd` is not done before the pools are, and the status says so from the first moment."""
    host.sh("systemctl stop celeryd")
    assert "2 of 2 pools run: default, imports" in host.sh("systemctl start celeryd && systemctl status celeryd")
    assert [host.ready(pool) for pool in POOLS] == [True, True]
    assert host.sh("systemctl is-active celeryd 'celeryd@*'").split() == ["active"] * 3


@pytest.mark.slow
def test_every_verb_works_by_the_other_name(host: Host) -> None:
    """`celery.service` is `celeryd.service`."""
    host.sh("systemctl is-active celery && systemctl status celery")
    assert host.run("systemctl is-enabled celery")[1].strip() == "alias"
    for verb in ("restart", "reload"):
        before = pids(host)
        host.sh(f"systemctl {verb} celery")
        assert all(host.ready(pool) and host.pid(pool) != before[pool] for pool in POOLS), verb
    host.sh("systemctl stop celery")
    assert pids(host) == {"default": 0, "imports": 0}
    host.sh("systemctl start celery")
    assert [host.ready(pool) for pool in POOLS] == [True, True]


@pytest.mark.slow
def test_an_idle_pool_is_back_within_three_seconds_and_the_import_of_its_app(host: Host) -> None:
    """A restart waits for nothing that is not there: neither the stop for jobs nor the start for processes."""

    def seconds(command: str) -> float:
        clock = "date +%s%N"
        said = host.sh(f"cd {APP}; began=$({clock}); {command}; echo $(( $({clock}) - began ))")
        return int(said.splitlines()[-1]) / 1e9

    def over() -> float:
        return seconds("systemctl restart celeryd@imports") - seconds("/opt/celery/venv/bin/python -c 'import plain'")

    tries: list[float] = []
    # A machine that has other things to do may be late now and then; a needless wait is there each time.
    until(lambda: tries.append(over()) or tries[-1] <= 3.0, 400, lambda: f"3 s: {tries}")


@EVERYWHERE
def test_stop_returns_when_every_pool_has_drained(host: Host) -> None:
    """Running jobs end, waiting jobs wait, and no process is left."""
    host.client.work(6, 3.0)
    host.wait_running(4)
    host.do("stop")
    account = host.ledger.account()
    assert not account.running and 4 <= len(account.done) <= 6, str(account)
    assert pids(host) == {"default": 0, "imports": 0}
    assert host.run("pgrep -f '[c]elerykit worker'")[1] == ""
    host.do("start")
    assert [host.ready(pool) for pool in POOLS] == [True, True]
    host.assert_nothing_lost()


@pytest.mark.inits("systemd", "sysvinit", "supervisor", "rabbitmq")
def test_restart_replaces_every_pool_and_loses_nothing(host: Host) -> None:
    """`restart` under load: each pool is new and ready, each job was done once."""
    before = pids(host)
    host.client.work(16, 1.0)
    host.wait_running(4)
    host.do("restart")
    assert all(host.pid(pool) not in {0, before[pool]} for pool in POOLS)
    assert [host.ready(pool) for pool in POOLS] == [True, True]
    host.assert_nothing_lost()


@pytest.mark.inits("systemd", "sysvinit")
def test_reload_leaves_some_worker_consuming_at_every_moment(host: Host) -> None:
    """`reload` of celeryd restarts one pool after the other; nothing is lost, nothing is run twice."""
    before = pids(host)
    seen: list[list[bool]] = []
    host.client.work(24, 0.7)
    host.wait_running(4)
    first, second = POOLS
    # The first is asked once more: between two answers it may have come back, and the second may have gone.
    with meanwhile(lambda: seen.append([host.ready(pool) for pool in (first, second, first)])):
        host.do("reload")
    assert all(any(pools) for pools in seen) and len(seen) > 3, seen
    assert any(pools[0] != pools[1] for pools in seen), "no restart was seen, so this proves nothing"
    assert all(host.pid(pool) not in {0, before[pool]} for pool in POOLS)
    host.assert_nothing_lost()


@pytest.mark.slow
def test_reload_ends_at_a_pool_that_does_not_come_back(host: Host) -> None:
    """A bad release or option takes down one pool and no more; the exit code and the journal tell."""
    before = pids(host)
    host.pool("default", CELERY_WORKER_CONCURENCY=3)
    assert host.run("systemctl reload celeryd")[0] != 0
    assert host.pid("imports") == before["imports"] and host.ready("imports")
    assert "celeryd@default.service did not come back, the pools after it were not touched" in host.journal("celeryd")
    host.sh("systemctl is-active celeryd")


@EVERYWHERE
def test_one_pool_restarts_alone(host: Host) -> None:
    """A restart of one pool leaves the other pool's process as it is."""
    before = pids(host)
    host.client.work(8, 1.0)
    host.wait_running(2)
    host.do("restart", "imports")
    assert host.ready("imports")
    after = pids(host)
    assert after["default"] == before["default"] and after["imports"] != before["imports"]
    host.assert_nothing_lost()


@pytest.mark.slow
def test_reload_of_one_pool_is_refused_and_harms_nothing(host: Host) -> None:
    """A worker has nothing to reload in place: systemd says so, and reload-or-restart restarts it."""
    before = pids(host)
    code, said = host.run("systemctl reload celeryd@imports")
    assert code != 0 and "not applicable" in said
    assert pids(host) == before
    host.sh("systemctl reload-or-restart celeryd@imports")
    assert host.ready("imports") and host.pid("imports") != before["imports"]


@pytest.mark.slow
def test_a_pool_stopped_by_hand_is_started_by_start(host: Host) -> None:
    """`start celeryd` on a running umbrella brings a stopped pool back; meanwhile the status tells."""
    host.sh("systemctl stop celeryd@imports")
    wait_umbrella_says(host, "1 of 2 pools run; not: imports is inactive")
    assert host.run(STATUS)[0] == 1
    host.sh("systemctl start celeryd")
    until(lambda: host.run(STATUS)[0] == 0, 90, lambda: host.run(STATUS)[1])


def test_a_pool_that_cannot_start_takes_nobody_with_it(host: Host) -> None:
    """The umbrella is up for the healthy pool and names the dead one and its reason; once mended, `start` starts it."""
    host.pool("imports", CELERY_WORKER_CONCURENCY=3)
    host.sh("systemctl restart celeryd")
    assert host.ready("default")
    wait_umbrella_says(host, "1 of 2 pools run; not: imports is activating (")
    wait_umbrella_says(host, "refused: CELERY_WORKER_CONCURENCY=3 (")
    assert sorted(host.run("systemctl is-active 'celeryd@*'")[1].split()) == ["activating", "active"]
    until(lambda: "Did you mean CELERY_WORKER_CONCURRENCY" in host.run(STATUS)[1], 60, lambda: host.run(STATUS)[1])
    assert host.run(STATUS)[0] == 1
    host.pool("imports")
    host.sh("systemctl start celeryd")
    until(lambda: host.run(STATUS)[0] == 0, 120, lambda: host.run(STATUS)[1])


@pytest.mark.slow
def test_a_pool_that_is_refused_says_so_at_once_and_tries_again_ever_more_seldom(host: Host) -> None:
    """`start` is answered with an error, at once; the journal does not fill; once mended, it comes back by itself."""
    host.sh("systemctl stop celeryd@imports")
    host.pool("imports", CELERY_WORKER_CONCURENCY=3)
    since = float(host.sh("date +%s.%N"))
    code, said = host.run("timeout 60 systemctl start celeryd@imports")
    assert code == 1, said
    wait_pool_says(host, "refused: CELERY_WORKER_CONCURENCY=3 (/etc/celery/worker-imports.env:2)")
    until(lambda: len(attempts(host, since)) >= 4, 180, lambda: str(attempts(host, since)))
    began = attempts(host, since)
    # A fixed delay of 2 seconds, and what a start takes, would be less.
    assert began[3] - began[2] > 6.5, began
    host.pool("imports")
    until(lambda: host.ready("imports"), 180, lambda: host.run(STATUS)[1])
    assert "worker-imports.refused" not in host.sh("ls /run/celery").split()


def attempts(host: Host, since: float) -> list[float]:
    """Return when systemd started the pool `imports`."""
    lines = host.sh("journalctl --no-pager -u celeryd@imports -o short-unix").splitlines()
    times = [float(line.split()[0]) for line in lines if "Starting celeryd@imports" in line]
    return [at for at in times if at > since]


@pytest.mark.slow
def test_the_umbrella_fails_when_no_pool_starts(host: Host) -> None:
    """`restart` says so with its exit code; `stop celeryd 'celeryd@*'` waits for running jobs; `start` mends it."""
    for pool in POOLS:
        host.pool(pool, CELERY_WORKER_CONCURENCY=3)
    assert host.run("systemctl restart celeryd")[0] != 0
    assert host.run("systemctl is-active celeryd")[1].strip() == "failed"
    assert "no pool started" in host.journal("celeryd")
    assert host.run("systemctl reload celeryd")[0] != 0
    host.pool("imports")
    host.sh("systemctl restart celeryd@imports")
    host.client.work(2, 4.0)
    host.wait_running(2)
    host.sh("systemctl stop celeryd 'celeryd@*'")
    account = host.ledger.account()
    assert len(account.done) == 2 and not account.started_twice, str(account)
    assert pids(host) == {"default": 0, "imports": 0}
    host.pool("default")
    host.sh("systemctl start celeryd")
    assert [host.ready(pool) for pool in POOLS] == [True, True]


@pytest.mark.slow
def test_stop_reaches_the_pools_of_a_failed_umbrella(host: Host) -> None:
    """They try again by themselves, and `systemctl stop celeryd` ends that, too."""
    for pool in POOLS:
        host.pool(pool, CELERY_WORKER_CONCURENCY=3)
    assert host.run("systemctl restart celeryd")[0] != 0
    host.sh("systemctl stop celeryd")
    ended = ([], ["inactive"] * 2)
    until(lambda: host.run("systemctl is-active 'celeryd@*'")[1].split() in ended, 60, "the end of all")


@pytest.mark.slow
def test_restart_works_while_the_broker_is_away(host: Host) -> None:
    """A start waits for the broker, says so, and is done when the pools consume."""
    host.sh("systemctl stop redis-server")
    restart = threading.Thread(target=host.run, args=["systemctl restart celeryd"])
    restart.start()
    wait_pool_says(host, "connecting to the broker")
    assert host.run("systemctl is-active celeryd@imports")[1].strip() == "activating"
    assert host.run(STATUS)[0] == 1
    host.sh("systemctl start redis-server")
    restart.join(120)
    assert not restart.is_alive()
    assert [host.ready(pool) for pool in POOLS] == [True, True]


@pytest.mark.slow
def test_the_umbrella_comes_up_with_a_pool_that_started_late(host: Host) -> None:
    """A boot during which the broker is away for long ends well without anybody: all pools, and the umbrella."""
    for pool in POOLS:
        host.drop_in(pool, "TimeoutStartSec=5")
    host.sh("systemctl stop redis-server")
    assert host.run("systemctl restart celeryd")[0] != 0
    assert host.run("systemctl is-active celeryd")[1].strip() == "failed"
    host.sh("systemctl start redis-server")
    for pool in POOLS:
        host.drop_in(pool, "TimeoutStartSec=90")
    until(lambda: host.run(f"systemctl is-active -q celeryd && {STATUS}")[0] == 0, 240, lambda: host.run(STATUS)[1])
    wait_umbrella_says(host, "2 of 2 pools run")


def test_status_exits_with_0_only_if_every_enabled_pool_is_ready(host: Host) -> None:
    """`celerykit status` is fit for scripts, and shows PID, readiness and reason to people."""
    code, said = host.run(STATUS)
    assert code == 0, said
    for pool in POOLS:
        told = rf"^{pool} +active +PID {host.pid(pool)} +ready +consuming celery; concurrency 2$"
        assert re.search(told, said, re.MULTILINE), said
    host.sh("systemctl stop celeryd@imports")
    code, said = host.run(STATUS)
    assert code == 1 and re.search(r"^imports +inactive +- +not ready", said, re.MULTILINE), said
    host.sh("systemctl disable -q celeryd@imports")
    code, said = host.run(STATUS)
    assert code == 0 and re.search(r"^imports .*\(not enabled\)$", said, re.MULTILINE), said
    host.sh("systemctl enable -q --now celeryd@imports")
    host.sh("systemctl stop redis-server")
    until(lambda: host.run(STATUS)[0] == 1, 60, lambda: host.run(STATUS)[1])
    assert "the connection to the broker is lost" in host.run(STATUS)[1]
    host.sh("systemctl start redis-server")
    until(lambda: host.run(STATUS)[0] == 0, 60, lambda: host.run(STATUS)[1])


def test_a_killed_umbrella_comes_back_and_no_pool_notices(host: Host) -> None:
    """Its helper is no single point of failure: running jobs go on in the same processes, and the status is kept."""
    before, helper = pids(host), host.show("celeryd", "MainPID")
    host.client.work(12, 1.0)
    host.wait_running(4)
    host.sh(f"kill -KILL {helper}")
    until(lambda: host.show("celeryd", "MainPID") not in {"0", helper}, 60, "another helper")
    until(lambda: host.run("systemctl is-active celeryd")[1].strip() == "active", 60, "the umbrella")
    host.assert_nothing_lost()
    assert pids(host) == before
    host.sh("systemctl stop celeryd@imports")
    wait_umbrella_says(host, "1 of 2 pools run; not: imports is inactive")
