"""Jobs survive what operators, kernels and brokers do to a host, whatever starts and stops its processes."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.rig.managers import POOLS, REDIS
from tests.rig.waiting import meanwhile, until

if TYPE_CHECKING:
    from tests.rig.hosts import Host

pytestmark = pytest.mark.inits("systemd", "sysvinit", "supervisor")
SYSTEMD = pytest.mark.inits("systemd")
SLOWLY_ON_EACH_BROKER = pytest.mark.inits(
    "systemd", "sysvinit", "supervisor", slowly=("valkey", "rabbitmq", "postgresql")
)
MINUTE = 60.0
PATIENCE = 120.0
"""Seconds that a busy machine may take for what an idle one does in a few."""
VISIBILITY_TIMEOUT = 20.0
"""Seconds; what follows from the host's CELERYKIT_LONGEST_JOB=10."""


def wait_back(host: Host, before: int) -> None:
    """Wait until the pool `imports` consumes in another process than ``before``."""
    until(lambda: host.pid("imports") not in {0, before} and host.ready("imports"), PATIENCE, "the pool again")


@SLOWLY_ON_EACH_BROKER
def test_jobs_survive_a_kill_of_the_main_process(host: Host) -> None:
    """`kill -9` with all slots busy: the pool is back by itself, its jobs run again, the other pool was not touched."""
    before = {pool: host.pid(pool) for pool in POOLS}
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh(f"kill -KILL {before['imports']}")
    wait_back(host, before["imports"])
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + PATIENCE, twice=2)
    assert host.pid("default") == before["default"]
    assert len(host.ledger.account().started_twice) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("signal", "again"), [("KILL", 2), ("TERM", 0)])
def test_jobs_survive_a_signal_to_the_whole_pool(host: Host, signal: str, again: int) -> None:
    """However many processes get a KILL, no orphan goes on; a TERM drains the pool; it is back by itself both times."""
    before = host.pid("imports")
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh(host.manager.signal("imports", signal))
    wait_back(host, before)
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + PATIENCE, twice=again)
    assert len(host.ledger.account().started_twice) == again


def test_jobs_sent_while_celeryd_is_stopped_run_after_its_start(host: Host) -> None:
    """The queue keeps what comes between `stop` and `start`; each job runs once."""
    host.do("stop")
    host.client.work(10, 0.2)
    assert not host.ledger.account().starts
    host.do("start")
    host.assert_nothing_lost()
    assert not host.ledger.account().started_twice


def test_jobs_survive_a_restart_of_the_broker(host: Host) -> None:
    """No pool is restarted for it, and every job is done."""
    before = {pool: host.pid(pool) for pool in POOLS}
    host.client.work(16, 0.5)
    host.wait_running(4)
    host.sh(f"service {REDIS} restart")
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + PATIENCE, twice=4)
    assert {pool: host.pid(pool) for pool in POOLS} == before


@pytest.mark.inits("rabbitmq", "postgresql", slowly=("systemd", "valkey"))
@pytest.mark.parametrize("fault", ["restart", "kill --signal=KILL"])
def test_jobs_survive_the_broker_under_publishing_on_a_host(host: Host, fault: str) -> None:
    """What it accepted before and after it was restarted or killed is done; it comes back by itself, no pool does."""
    before, broker = {pool: host.pid(pool) for pool in POOLS}, host.broker_pid()
    with meanwhile(lambda: host.client.submit("jobs.work", 0.1), 0.05):
        host.wait_running(2)
        host.sh(f"systemctl {fault} {host.broker}")
        until(lambda: host.broker_pid() not in {0, broker} and host.client.ping(), PATIENCE, "another broker")
        host.ledger.wait_accepted(10, PATIENCE)
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + PATIENCE, twice=8)
    assert {pool: host.pid(pool) for pool in POOLS} == before


@SLOWLY_ON_EACH_BROKER
def test_jobs_survive_a_reboot(host: Host) -> None:
    """Queued, running and ETA jobs are done after the machine has come up again, by itself where it has an init."""
    host.client.work(12, 1.0)
    eta = host.client.work(2, 0.1, countdown=8)
    host.wait_running(4)
    host.reboot()
    until(lambda: all(map(host.ready, POOLS)), 240, "the pools after the boot")
    if host.manager.name == "systemd":
        until(lambda: host.run("systemctl is-active celeryd")[1].strip() == "active", 60, "the umbrella after the boot")
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + PATIENCE, twice=4)
    assert set(eta) <= set(host.ledger.account().done)


@pytest.mark.slow
@SYSTEMD
def test_a_stopped_worker_is_replaced(host: Host) -> None:
    """After `kill -STOP` of a pool's main process the watchdog brings the pool back, and its jobs run again."""
    host.pool("imports", CELERYKIT_STUCK_AFTER=3)
    host.sh("systemctl restart celeryd@imports")
    before = host.pid("imports")
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh(f"kill -STOP {before}")
    wait_back(host, before)
    assert "Watchdog timeout" in host.journal("celeryd@imports")
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + PATIENCE, twice=2)


@pytest.mark.slow
def test_an_outage_or_a_long_job_restarts_nothing(host: Host) -> None:
    """A minute without the broker, or in one job of a solo pool, is not taken for a stuck worker."""
    patient = {"CELERYKIT_STUCK_AFTER": 5, "CELERYKIT_LONGEST_JOB": 300}
    host.do("stop")
    host.pool("imports", **patient)
    host.pool("solo", CELERY_WORKER_POOL="solo", CELERY_WORKER_CONCURRENCY=1, CELERY_WORKER_QUEUES="slow", **patient)
    for pool in ("imports", "solo"):
        host.do("start", pool)
    before = {pool: host.pid(pool) for pool in ("imports", "solo")}
    host.client.work(1, MINUTE, queue="slow")
    host.wait_running()
    host.sh(f"service {REDIS} stop")
    until(lambda: not host.ready("imports"), 90, "the outage is noticed")
    time.sleep(MINUTE)  # the fault itself
    host.sh(f"service {REDIS} start")
    host.assert_nothing_lost()
    until(lambda: all(map(host.ready, before)), 90, "ready again")
    assert {pool: host.pid(pool) for pool in before} == before


@pytest.mark.slow
def test_a_restart_waits_for_a_long_job(host: Host) -> None:
    """`restart` with a job of a minute: nothing cuts its drain short, and the job is done once."""
    for pool in POOLS:
        host.pool(pool, CELERYKIT_STUCK_AFTER=5, CELERYKIT_LONGEST_JOB=300, CELERYKIT_STOP_TIMEOUT=300)
    host.do("restart")
    before = {pool: host.pid(pool) for pool in POOLS}
    host.client.work(2, MINUTE)
    host.wait_running(2)
    host.do("restart")
    account = host.ledger.account()
    assert len(account.done) == 2 and not account.started_twice, str(account)
    assert all(host.ready(pool) and host.pid(pool) != before[pool] for pool in POOLS)


@pytest.mark.slow
@SYSTEMD
def test_a_drain_longer_than_the_unit_s_time_out_is_waited_for(host: Host) -> None:
    """CELERYKIT_STOP_TIMEOUT beyond TimeoutStopSec needs no change of the unit: the worker asks for the time."""
    host.drop_in("imports", "TimeoutStopSec=3")
    host.sh("systemctl stop celeryd@default; systemctl restart celeryd@imports")
    host.client.work(2, 9.0)
    host.wait_running(2)
    host.sh("systemctl stop celeryd@imports")
    assert len(host.ledger.account().done) == 2
    assert host.show("celeryd@imports", "Result") == "success"


@pytest.mark.inits("systemd", slowly=("bookworm", "sysvinit", "supervisor"))
def test_a_worker_that_does_not_stop_is_killed_with_all_its_children(host: Host) -> None:
    """After the budget, which a halted worker cannot keep: it is said, nothing of the pool goes on, no job is lost."""
    host.manager.bound_stop("imports")
    host.client.work(4, 3.0)
    host.wait_running(4)
    before = host.pid("imports")
    # Whoever stops a process wakes it up as well.
    host.sh("(while pkill -STOP -f '[c]elerykit worker imports'; do sleep 0.05; done) >/dev/null 2>&1 &")
    said = host.run(host.manager.verb("stop", "imports"))[1] + host.manager.log("imports")
    assert re.search(rf"did not stop within its 1 s, and is killed|[Kk]illing .*{before}.* with .*SIGKILL", said), said
    assert host.run("pgrep -f '[c]elerykit worker imports'")[1] == ""
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + PATIENCE, twice=2)


@pytest.mark.slow
def test_jobs_survive_an_oom_kill(host: Host) -> None:
    """A child that the kernel kills for memory takes neither its pool nor a job with it."""
    before = {pool: host.pid(pool) for pool in POOLS}
    host.container.update(mem_limit="768m", memswap_limit="768m")
    try:
        hungry = host.client.submit("jobs.eat", 2048)
        host.client.work(4, 0.5)
        host.assert_nothing_lost(PATIENCE, twice=1)
    finally:
        host.container.update(mem_limit="1024g", memswap_limit="1024g")
    assert host.ledger.account().starts[hungry or ""] == 2
    assert {pool: host.pid(pool) for pool in POOLS} == before
