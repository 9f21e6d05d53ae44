"""Jobs that wait for their time are seen by whoever asks, and end or go back as somebody says."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.rig.waiting import until
from tests.transport.bench import PATIENCE
from tests.transport.site import HOUR, Site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transport.bench import Bench


@pytest.fixture
def site(bench: Bench, tmp_path: Path) -> Site:
    """An app and its worker, on an empty server."""
    return Site(bench, tmp_path)


def test_a_worker_tells_of_jobs_on_the_server_and_ends_them(site: Site) -> None:
    """`inspect scheduled` has them with their time; one that is revoked or expires is REVOKED long before it."""
    began = time.time()
    kept, revoked = site.send(2)
    with site.worker():
        site.put_off(2)
        (expired,) = site.send(expires=8)  # not before: a worker may take seconds to start
        site.put_off(3)
        told = site.scheduled()
        assert [job["request"]["id"] for job in told] == [expired, kept, revoked]
        assert {job["request"]["type"] for job in told} == {"jobs.work"}
        etas = [datetime.fromisoformat(job["eta"]).timestamp() for job in told]
        assert all(HOUR - 5 < eta - began < HOUR + PATIENCE for eta in etas)
        site.revoke(revoked)
        until(lambda: site.state(revoked) == site.state(expired) == "REVOKED", 30, "both are ended")
        assert (site.state(kept), site.bench.reserved) == ("PENDING", 0)
        site.put_off(1)


def test_the_command_line_counts_drops_and_puts_back(site: Site) -> None:
    """By list; `--drop` drops those of one queue, `--put-back` waits for the last worker to end."""
    site.send(2)
    site.send(1, priority=9)
    with site.worker():
        site.put_off(2)
        site.put_off(1, "celery\x06\x169")
        counted = [f"{'celery':<32}2", f"{'celery' + chr(92) + 'x06' + chr(92) + 'x169':<32}1"]
        assert site.waiting() == (0, [*counted, "3 jobs wait for their time"])
        refused = ["0 jobs are back in their queues", *counted, "3 jobs wait for their time"]
        assert site.waiting("--put-back") == (1, refused)
    assert site.waiting("--put-back") == (0, ["3 jobs are back in their queues", "0 jobs wait for their time"])
    assert site.bench.waiting("celery") == 3
    with site.worker():
        site.put_off(2)
        site.put_off(1, "celery\x06\x169")
    assert site.waiting("--drop", "other")[1][0] == "dropped 0 jobs"
    assert site.waiting("--drop", "celery") == (0, ["dropped 3 jobs", "0 jobs wait for their time"])
    assert not site.bench.root.keys("celerykit.waiting*")


def test_a_worker_with_a_stock_transport_gets_what_waits(site: Site) -> None:
    """A downgrade: it has them put back, and holds them in its memory until they are due, as ever."""
    sent = site.send(3)
    with site.worker():
        site.put_off(3)
    with site.worker(CELERYKIT_REDIS_TRANSPORT="stock", CELERY_WORKER_PREFETCH_MULTIPLIER="4") as log:
        until(lambda: site.bench.reserved == 3, PATIENCE, "the worker has them")
        assert not site.bench.root.keys("celerykit.waiting*")
        told = site.scheduled()
        assert {job["request"]["id"] for job in told} == {*sent}
        assert "3 jobs that waited for their time on Redis are back in their queues" in log.read_text()
    assert site.bench.waiting("celery") == 3
