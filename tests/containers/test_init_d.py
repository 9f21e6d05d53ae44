"""``service celeryd VERB`` on a machine with sysvinit: what each verb does, and that jobs survive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rig.ledger import folder_in_memory
from tests.rig.sysvinit import POOLS, Host
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

#: One machine for all of them, so one of the parallel runners has them all.
pytestmark = pytest.mark.xdist_group("sysvinit")


@pytest.fixture(scope="module")
def machine() -> Iterator[Host]:
    """A booted machine with its broker."""
    with folder_in_memory() as folder:
        host = Host(folder)
        try:
            host.prepare()
            yield host
        finally:
            host.remove()


@pytest.fixture
def host(machine: Host) -> Host:
    """The machine with both pools consuming and no job anywhere."""
    for pool in POOLS:
        machine.pool(pool)
    machine.run("rm -f /etc/default/celeryd")
    machine.sh("service celeryd start")
    until(lambda: machine.client.queued() + machine.client.unacknowledged() == 0, 90, "an empty broker")
    machine.ledger.clear()
    return machine


def test_start_returns_when_every_pool_consumes_and_stop_when_every_job_has_ended(host: Host) -> None:
    """The exit codes are LSB's, and after `stop` nothing of the pools is left."""
    assert all(host.ready(pool) for pool in POOLS)
    assert host.run("service celeryd status")[0] == 0
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh("service celeryd stop")
    assert not host.ledger.account().running, str(host.ledger.account())
    assert host.run("service celeryd status")[0] == 3
    assert host.run("pgrep -f '[c]elerykit worker'")[1] == ""
    host.assert_nothing_lost()


def test_jobs_sent_while_celeryd_is_stopped_run_after_its_start(host: Host) -> None:
    """The queue keeps what comes between `service celeryd stop` and `service celeryd start`; each job runs once."""
    host.sh("service celeryd stop")
    host.client.work(10, 0.2)
    host.sh("service celeryd start")
    host.assert_nothing_lost()


def test_a_restart_under_load_loses_nothing(host: Host) -> None:
    """Running jobs end, waiting ones run afterwards, and each runs once; `reload` does it pool by pool."""
    for verb in ("restart", "reload"):
        host.client.work(12, 1.5)
        host.wait_running(2)
        host.sh(f"service celeryd {verb}")
        host.assert_nothing_lost()


def test_one_pool_restarts_alone(host: Host) -> None:
    """`service celeryd restart imports` leaves the other pool as it is."""
    before = {pool: host.pid(pool) for pool in POOLS}
    host.sh("service celeryd restart imports")
    assert host.pid("default") == before["default"]
    assert host.pid("imports") not in {0, before["imports"]}


def test_a_killed_worker_comes_back_by_itself(host: Host) -> None:
    """`kill -9` with all slots busy: the pool is back without anybody, and its jobs run again."""
    before = host.pid("imports")
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh(f"kill -KILL {before}")
    until(lambda: host.pid("imports") not in {0, before} and host.ready("imports"), 120, "the pool again")
    host.assert_nothing_lost(twice=2)


def test_jobs_survive_a_reboot(host: Host) -> None:
    """Running jobs end before the machine does; those that wait run after the boot, which starts the broker first."""
    host.client.work(12, 2.0)
    host.wait_running(4)
    host.reboot()
    until(lambda: all(host.ready(pool) for pool in POOLS), 120, host.logs)
    host.assert_nothing_lost()


def test_a_pool_that_cannot_start_is_told_with_its_reason(host: Host) -> None:
    """`start` fails with the last log lines; the pools that can run do, and `status` says which does not."""
    host.pool("imports", CELERY_WORKER_CONCURENCY=3)
    code, said = host.run("service celeryd restart imports")
    assert code == 1
    assert "Did you mean CELERY_WORKER_CONCURRENCY?" in said
    assert host.ready("default")
    host.pool("imports")
    until(lambda: host.ready("imports"), 60, "the mended pool, which is tried again and again")


def test_starts_and_stops_at_once_end_in_one_state(host: Host) -> None:
    """Two starts side by side start each pool once; a stop while a start waits leaves nothing running."""
    host.sh("service celeryd stop")
    host.sh("service celeryd start & service celeryd start; wait")
    assert host.sh("pgrep -fc '[c]elerykit worker default$' -P $(pgrep -f '[r]unsv worker-default')").strip() == "1"
    host.sh("service celeryd stop")
    host.run("service celeryd start & sleep 0.7; service celeryd stop; wait")
    assert host.run("service celeryd status")[0] == 3


def test_what_there_is_no_such_thing_of_has_the_exit_code_of_lsb(host: Host) -> None:
    """2 for a verb, 6 for a pool or a beat without a file, 4 for a user who may not."""
    assert host.run("service celeryd frobnicate")[0] == 2
    assert host.run("service celeryd restart nobody")[0] == 6
    assert host.run("service celerybeat start")[0] == 6
    assert host.run("chpst -u celery /etc/init.d/celeryd stop")[0] == 4


def test_nodes_of_an_old_file_are_pools(host: Host) -> None:
    """/etc/default/celeryd of Celery's own script, with nodes and options, starts as it is."""
    host.sh("service celeryd stop")
    host.sh("mkdir -p /var/tmp/kept && mv /etc/celery/worker-*.env /var/tmp/kept")
    host.write("/etc/default/celeryd", 'CELERYD_NODES="old"\nCELERYD_OPTS="--concurrency=1"\n')
    try:
        host.sh("service celeryd start")
        assert host.ready("old")
        host.sh("service celeryd stop")
    finally:
        host.sh("mv /var/tmp/kept/* /etc/celery")
