"""What workers of a host learn of their jobs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from celerykit.sizing import history
from celerykit.sizing.history import Jobs, Record
from tests.rig.managers import POOLS
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.hosts import Host

pytestmark = pytest.mark.inits("systemd", "sysvinit", "supervisor", slowly=("bookworm",))


def test_what_a_worker_learns_outlives_it(host: Host) -> None:
    """Whatever starts and stops it: what an operator asks and its next start go by what it has seen."""
    host.client.work(300, 0.02)
    host.assert_nothing_lost(60)
    host.do("restart")
    said = [host.sh(f"cd /opt/celery/app/current && celerykit tune {pool}") for pool in POOLS]
    seen = [line for text in said for line in text.splitlines() if line.startswith("# jobs.work: ")]
    assert seen, said
    assert all("seen until " in text for text in said if "# jobs.work: " in text)
    assert all("CELERY_WORKER_CONCURRENCY=" in text for text in said)


def test_a_proposal_is_applied_to_one_worker_after_the_other(host: Host) -> None:
    """Whatever starts and stops them: under load the workers come back with the new size, and nothing is lost."""
    before = {pool: host.pid(pool) for pool in POOLS}
    with host.client.load():
        host.wait_running(2)
        said = host.sh("cd /opt/celery/app/current && celerykit tune imports --apply")
    assert "restarted imports" in said
    assert host.pid("default") == before["default"]
    until(lambda: host.ready("imports"), 30, "the worker")
    assert host.pid("imports") != before["imports"]
    wanted = [line for line in said.splitlines() if line.startswith("CELERY_WORKER_")]
    assert wanted and all(line in host.sh(f"cat {host.env_file('imports')}").splitlines() for line in wanted)
    host.assert_nothing_lost()
    host.pool("imports")
    host.do("restart", "imports")


@pytest.mark.inits("systemd", slowly=("bookworm",))
def test_a_pool_has_as_many_processes_as_its_jobs_are_worth(site: Host) -> None:
    """Threads of one process use one CPU: where jobs want more, more replicas share the pool's file, while they do."""
    pools = [{"name": "default", "replicas": "auto", "options": {"CELERYKIT_POOL_KINDS": "threads,prefork"}}]
    names = ["default", *(f"default-{number}" for number in range(2, int(site.sh("nproc")) + 1))]
    assert site.deploy(celery_workers=pools).code == 0
    assert site.pid("default")
    jobs = Jobs(jobs=1000, wall=0.1, cpu=0.02, p50=0.1, p95=0.1, p99=0.1, growth=None)
    seen = Record("plain", "threads", "2026-01-01T00:00:00+00:00", 60, 100, None, 1.0, None, jobs, {"jobs.work": jobs})
    file = "/var/lib/celery/profile-default.json"
    site.write(file, json.dumps({"format": history.FORMAT, **asdict(seen)}), owner="celery:celery")
    play = site.deploy(celery_workers=pools)
    assert play.code == 0, play.text
    until(lambda: all(map(site.ready, names)), 30, "workers that are ready")
    assert site.sh("readlink /etc/celery/worker-default-2.env").strip() == "worker-default.env"
    assert site.deploy(celery_workers=pools).changed() == 0
    site.client.work(20, 0.1)
    site.assert_nothing_lost()
    site.sh(f"rm {file}")
    assert site.deploy(celery_workers=pools).code == 0
    assert [name for name in names if site.pid(name)] == ["default"]
