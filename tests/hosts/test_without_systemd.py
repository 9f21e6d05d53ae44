"""What systemd gives by itself and the kit to the others: logs that are rotated, and processes without rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rig.managers import PROCESSES
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.hosts import Host

pytestmark = pytest.mark.inits("sysvinit", "supervisor")
JOBS = 150
PATIENCE = 120.0
"""Seconds that a busy machine may take for what an idle one does in a few."""


def test_no_process_has_rights_that_it_does_not_need(site: Host) -> None:
    """All of them run as `celery`, who cannot log in, and the socket of supervisor is root's alone."""
    owners = {site.sh(f"ps -o user= -p {site.pid(process)}").strip() for process in PROCESSES}
    assert owners == {"celery"}
    assert site.sh("getent passwd celery").strip().endswith("nologin")
    assert site.run("find /run /var/run/ -type s -path '*supervisor*' -perm /077")[1] == ""


def test_flower_is_on_this_machine_only(site: Host) -> None:
    """Nobody reaches it from elsewhere unless `address` says so."""
    until(lambda: "127.0.0.1:5555" in site.sh("ss -ltnH 'sport = :5555'"), 60, "Flower")
    assert len(site.sh("ss -ltnH 'sport = :5555'").splitlines()) == 1


@pytest.mark.slow
def test_a_rotation_of_the_log_loses_no_line_and_no_job(host: Host) -> None:
    """Under load, with a file every few kilobytes, each job has its line that it was done."""
    host.do("stop", "default")
    host.manager.rotate_often("imports")
    jobs = host.client.work(JOBS, 0.02)
    host.assert_nothing_lost()
    lines = host.manager.whole_log("imports")
    assert len(lines) > 3, "no rotation was seen, so this proves nothing"
    assert [job for job in jobs if f"[{job}] succeeded" not in "".join(lines)] == []


@pytest.mark.inits("supervisor")
def test_a_pool_that_cannot_start_takes_nobody_with_it(host: Host) -> None:
    """It is tried again and again, its reason is in its log, and once mended it comes back by itself."""
    before = host.pid("default")
    host.pool("imports", CELERY_WORKER_CONCURENCY=3)
    host.run("supervisorctl restart celeryd@imports")
    until(lambda: "Did you mean CELERY_WORKER_CONCURRENCY?" in host.manager.log("imports"), PATIENCE, "its reason")
    until(lambda: "BACKOFF" in host.run("supervisorctl status celeryd@imports")[1], PATIENCE, "another attempt")
    host.pool("imports")
    until(lambda: host.ready("imports"), PATIENCE, lambda: host.manager.log("imports"))
    assert host.pid("default") == before
