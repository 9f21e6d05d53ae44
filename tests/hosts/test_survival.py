"""Jobs survive what operators, kernels and brokers do to a host."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.hosts import Host

POOLS = ("default", "imports")
MINUTE = 60.0
PATIENCE = 120.0
"""Seconds that a busy machine may take for what an idle one does in a few."""
VISIBILITY_TIMEOUT = 20.0
"""Seconds; what follows from the host's CELERYKIT_LONGEST_JOB=10."""


def wait_back(host: Host, before: int) -> None:
    """Wait until the pool `imports` consumes in another process than ``before``."""
    until(lambda: host.pid("imports") not in {0, before} and host.ready("imports"), PATIENCE, "the pool again")


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
def test_jobs_survive_a_kill_of_the_whole_pool(host: Host) -> None:
    """`systemctl kill` of every process of a pool: no orphan, and the jobs run again."""
    before = host.pid("imports")
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh("systemctl kill --signal=KILL celeryd@imports")
    wait_back(host, before)
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + PATIENCE, twice=2)
    assert len(host.ledger.account().started_twice) == 2


@pytest.mark.slow
def test_jobs_survive_a_term_to_the_whole_pool(host: Host) -> None:
    """`systemctl kill celeryd@imports` drains it, however many processes get the TERM, and systemd starts it again."""
    before = host.pid("imports")
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh("systemctl kill celeryd@imports")
    wait_back(host, before)
    host.assert_nothing_lost()


def test_jobs_survive_a_restart_of_the_broker(host: Host) -> None:
    """No pool is restarted for it, and every job is done."""
    before = {pool: host.pid(pool) for pool in POOLS}
    host.client.work(16, 0.5)
    host.wait_running(4)
    host.sh("systemctl restart redis-server")
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + PATIENCE, twice=4)
    assert {pool: host.pid(pool) for pool in POOLS} == before


def test_jobs_survive_a_reboot(host: Host) -> None:
    """Queued, running and ETA jobs are done after the machine has come up again, by itself."""
    host.client.work(12, 1.0)
    eta = host.client.work(2, 0.1, countdown=8)
    host.wait_running(4)
    host.reboot()
    until(lambda: all(map(host.ready, POOLS)), 240, "the pools after the boot")
    until(lambda: host.run("systemctl is-active celeryd")[1].strip() == "active", 60, "the umbrella after the boot")
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + PATIENCE, twice=4)
    assert set(eta) <= set(host.ledger.account().done)


@pytest.mark.slow
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
    host.sh("systemctl disable -q --now celeryd@default")
    host.pool("imports", **patient)
    host.pool("solo", CELERY_WORKER_POOL="solo", CELERY_WORKER_CONCURRENCY=1, CELERY_WORKER_QUEUES="slow", **patient)
    host.sh("systemctl restart celeryd")
    before = {pool: host.pid(pool) for pool in ("imports", "solo")}
    host.client.work(1, MINUTE, queue="slow")
    host.wait_running()
    host.sh("systemctl stop redis-server")
    until(lambda: not host.ready("imports"), 90, "the outage is noticed")
    time.sleep(MINUTE)  # the fault itself
    host.sh("systemctl start redis-server")
    host.assert_nothing_lost()
    until(lambda: all(map(host.ready, before)), 90, "ready again")
    assert {pool: host.pid(pool) for pool in before} == before
    assert [host.show(f"celeryd@{pool}", "NRestarts") for pool in before] == ["0", "0"]


@pytest.mark.slow
def test_a_restart_waits_for_a_long_job(host: Host) -> None:
    """`systemctl restart celeryd` with a job of a minute: nothing cuts its drain short, and the job is done once."""
    for pool in POOLS:
        host.pool(pool, CELERYKIT_STUCK_AFTER=5, CELERYKIT_LONGEST_JOB=300, CELERYKIT_STOP_TIMEOUT=300)
    host.sh("systemctl restart celeryd")
    before = {pool: host.pid(pool) for pool in POOLS}
    host.client.work(2, MINUTE)
    host.wait_running(2)
    host.sh("systemctl restart celeryd")
    account = host.ledger.account()
    assert len(account.done) == 2 and not account.started_twice, str(account)
    assert all(host.ready(pool) and host.pid(pool) != before[pool] for pool in POOLS)
    assert [host.show(f"celeryd@{pool}", "NRestarts") for pool in POOLS] == ["0", "0"]


@pytest.mark.slow
def test_a_drain_longer_than_the_unit_s_time_out_is_waited_for(host: Host) -> None:
    """CELERYKIT_STOP_TIMEOUT beyond TimeoutStopSec needs no change of the unit: the worker asks for the time."""
    host.drop_in("imports", "TimeoutStopSec=3")
    host.sh("systemctl stop celeryd@default; systemctl restart celeryd@imports")
    host.client.work(2, 9.0)
    host.wait_running(2)
    host.sh("systemctl stop celeryd@imports")
    assert len(host.ledger.account().done) == 2
    assert host.show("celeryd@imports", "Result") == "success"


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
