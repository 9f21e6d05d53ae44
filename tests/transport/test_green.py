"""A worker of greenlets, with all that the kit makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rig.waiting import until
from tests.transport.bench import PATIENCE
from tests.transport.site import Site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transport.bench import Bench

JOBS = 200


def test_results_of_greenlets_share_connections(bench: Bench, tmp_path: Path) -> None:
    """Not one for each job, as with a client of Redis for each greenlet."""
    site = Site(bench, tmp_path)
    results = bench.server.url.replace("//celery:", "//results:").replace("/0", "/1")
    with site.worker(CELERY_WORKER_POOL="gevent", CELERY_RESULT_BACKEND=results, CELERY_WORKER_CONCURRENCY="10"):
        site.send(countdown=0)
        until(lambda: bench.root.info("keyspace").get("db1"), PATIENCE, "the first result")
        before = bench.root.info("stats")["total_connections_received"]
        site.send(JOBS - 1, countdown=0)
        until(lambda: bench.root.info("keyspace")["db1"]["keys"] == JOBS, PATIENCE, "all results")
        assert bench.root.info("stats")["total_connections_received"] - before < JOBS / 4
