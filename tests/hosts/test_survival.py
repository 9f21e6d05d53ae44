"""Jobs survive what operators, kernels and brokers do to a host."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.rig.hosts import Host
from tests.rig.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

POOLS = ("default", "imports")
VISIBILITY_TIMEOUT = 20.0
"""Seconds; what follows from the host's CELERYKIT_LONGEST_JOB=10."""


def test_jobs_survive_a_kill_of_the_main_process(host: Host) -> None:
    """`kill -9` with all slots busy: the pool is back by itself, its jobs run again, the other pool was not touched."""
    before = {pool: host.pid(pool) for pool in POOLS}
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh(f"kill -KILL {before['imports']}")
    until(lambda: host.pid("imports") not in {0, before["imports"]} and host.ready("imports"), 30, "the pool again")
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + 25, twice=2)
    assert host.pid("default") == before["default"]
    assert len(host.ledger.account().started_twice) == 2


def test_jobs_survive_a_kill_of_the_whole_pool(host: Host) -> None:
    """`systemctl kill` of every process of a pool: no orphan, and the jobs run again."""
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh("systemctl kill --signal=KILL celeryd@imports")
    until(lambda: host.ready("imports"), 30, "the pool again")
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + 25, twice=2)


def test_jobs_survive_a_term_to_the_whole_pool(host: Host) -> None:
    """`systemctl kill celeryd@imports` drains it, however many processes get the TERM, and systemd starts it again."""
    before = host.pid("imports")
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh("systemctl kill celeryd@imports")
    until(lambda: host.pid("imports") not in {0, before} and host.ready("imports"), 30, "the pool again")
    host.assert_nothing_lost()


def test_jobs_survive_a_restart_of_the_broker(host: Host) -> None:
    """No pool is restarted for it, and every job is done."""
    before = {pool: host.pid(pool) for pool in POOLS}
    host.client.work(16, 0.5)
    host.wait_running(4)
    host.sh("systemctl restart redis-server")
    host.assert_nothing_lost(60, twice=4)
    assert {pool: host.pid(pool) for pool in POOLS} == before


def test_jobs_survive_a_reboot(host: Host) -> None:
    """Queued, running and ETA jobs are done after the machine has come up again, by itself."""
    host.client.work(12, 1.0)
    eta = host.client.work(2, 0.1, countdown=8)
    host.wait_running(4)
    host.reboot()
    until(lambda: all(map(host.ready, POOLS)), 60, "the pools after the boot")
    assert host.run("systemctl is-active celeryd")[1].strip() == "active"
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + 40, twice=4)
    assert set(eta) <= set(host.ledger.account().done)


def test_a_stopped_worker_is_replaced(host: Host) -> None:
    """After `kill -STOP` of a pool's main process the watchdog brings the pool back, and its jobs run again."""
    host.pool("imports", CELERYKIT_STUCK_AFTER=3)
    host.sh("systemctl restart celeryd@imports")
    before = host.pid("imports")
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh(f"kill -STOP {before}")
    until(lambda: host.pid("imports") not in {0, before} and host.ready("imports"), 45, "the pool again")
    assert "Watchdog timeout" in host.journal("celeryd@imports")
    host.assert_nothing_lost(VISIBILITY_TIMEOUT + 40, twice=2)


@pytest.mark.timeout(200)
def test_an_outage_or_a_long_job_restarts_nothing(host: Host) -> None:
    """A minute without the broker, or in one job of a solo pool, is not taken for a stuck worker."""
    host.pool("imports", CELERYKIT_STUCK_AFTER=5)
    host.pool(
        "solo",
        CELERY_WORKER_POOL="solo",
        CELERY_WORKER_CONCURRENCY=1,
        CELERY_WORKER_QUEUES="slow",
        CELERYKIT_STUCK_AFTER=5,
        CELERYKIT_LONGEST_JOB=100,
    )
    host.sh("systemctl restart celeryd")
    before = {pool: host.pid(pool) for pool in ("imports", "solo")}
    host.client.work(1, 55.0, queue="slow")
    host.wait_running()
    host.sh("systemctl stop redis-server")
    time.sleep(60)
    host.sh("systemctl start redis-server")
    host.assert_nothing_lost(30)
    assert {pool: host.pid(pool) for pool in before} == before
    assert [host.show(f"celeryd@{pool}", "NRestarts") for pool in before] == ["0", "0"]
    until(lambda: all(map(host.ready, before)), 30, "ready again")


def test_a_drain_longer_than_the_unit_s_time_out_is_waited_for(host: Host) -> None:
    """CELERYKIT_STOP_TIMEOUT beyond TimeoutStopSec needs no change of the unit: the worker asks for the time."""
    host.drop_in("imports", "TimeoutStopSec=3")
    host.sh("systemctl stop celeryd@default; systemctl restart celeryd@imports")
    host.client.work(2, 9.0)
    host.wait_running(2)
    host.sh("systemctl stop celeryd@imports")
    assert len(host.ledger.account().done) == 2
    assert host.show("celeryd@imports", "Result") == "success"


def test_a_package_upgrade_of_the_app_loses_nothing(host: Host) -> None:
    """New code is put in place under load, and comes into effect with `reload celeryd`."""
    host.client.work(20, 1.0)
    host.wait_running(4)
    host.sh("echo \"print('the new release')\" >>/opt/celery/app/current/plain.py")
    host.sh("systemctl reload celeryd")
    assert host.journal("celeryd@*").count("the new release") >= 2
    host.assert_nothing_lost()


def test_jobs_survive_an_oom_kill(machine: Host, tmp_path: Path) -> None:
    """A child that the kernel kills for memory takes neither its pool nor a job with it."""
    small = Host(machine.suite, tmp_path, mem_limit="512m", memswap_limit="512m")
    try:
        small.prepare()
        small.pool("default")
        small.sh("systemctl start celeryd")
        before = small.pid("default")
        hungry = small.client.submit("jobs.eat", 2048)
        small.client.work(4, 0.5)
        small.assert_nothing_lost(60, twice=1)
        assert small.ledger.account().starts[hungry or ""] == 2
        assert small.pid("default") == before
    finally:
        small.remove()


def test_what_is_promised_of_the_units_is_in_effect(host: Host) -> None:
    """The effective properties: budgets, restarts, memory behaviour, and a sandbox as tight as a worker stands."""
    wanted = {
        "Type": "notify",
        "KillMode": "mixed",
        "OOMPolicy": "continue",
        "Restart": "always",
        "StartLimitIntervalUSec": "0",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "User": "celery",
    }
    names = ",".join(wanted)
    shown = dict(
        line.split("=", 1) for line in host.sh(f"systemctl show --property={names} celeryd@imports").splitlines()
    )
    assert shown == wanted
    for unit in ("celeryd", "celeryd@imports", "celerybeat", "celery-flower"):
        verdict = host.sh(f"systemd-analyze security --no-pager {unit}.service").splitlines()[-1]
        assert float(re.findall(r"\d+\.\d+", verdict)[0]) <= 2.0, verdict
    units = " ".join(f"/etc/systemd/system/{name}.service" for name in ("celeryd", "celerybeat", "celery-flower"))
    assert host.run(f"systemd-analyze verify {units} /etc/systemd/system/celeryd@.service") == (0, "")


def test_a_limit_of_one_pool_is_a_drop_in(host: Host) -> None:
    """MemoryMax, CPUQuota and Nice reach the pool that they are for, and no other."""
    host.drop_in("imports", "MemoryMax=512M\nCPUQuota=50%\nNice=5")
    assert host.show("celeryd@imports", "MemoryMax") == str(512 * 1024**2)
    assert host.show("celeryd@default", "MemoryMax") == "infinity"
    host.sh("systemctl restart celeryd@imports")
    assert host.sh(f"ps -o nice= -p {host.pid('imports')}").strip() == "5"


def test_no_password_is_seen_on_the_host(host: Host) -> None:
    """Neither in the process list, nor in units, nor in the journal, nor in a file that others can read."""
    assert host.password not in host.sh("ps -ef")
    assert host.password not in host.sh("systemctl show 'celery*'; systemctl cat 'celeryd*'")
    assert host.password not in host.sh("journalctl --no-pager")
    assert host.sh("stat -c '%a %U:%G' /etc/celery/broker-url").strip() == "640 root:celery"


def test_beat_and_flower_start(host: Host) -> None:
    """Beat is ready when it ticks, with its schedule where it may write; Flower answers on loopback."""
    host.sh("systemctl start celerybeat")
    assert host.sh("/opt/celery/venv/bin/celerykit probe beat --ready").startswith("ready")
    assert host.sh("ls /var/lib/celery").split()
    host.sh("systemctl start celery-flower")
    listens = "ss -ltnH 'sport = :5555'"
    until(lambda: "127.0.0.1:5555" in host.sh(listens), 20, lambda: f"Flower\n{host.journal('celery-flower')}")
    assert len(host.sh(listens).splitlines()) == 1
    host.sh("systemctl stop celerybeat celery-flower")
