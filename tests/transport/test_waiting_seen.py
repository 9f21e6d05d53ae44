"""Jobs that wait for their time are seen by whoever asks, and end or go back as somebody says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from tests.rig.waiting import until
from tests.transport.bench import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.transport.bench import Bench

ROOT = Path(__file__).parents[2]
HOUR = 3600


class Site:
    """An app, its worker with all that the kit makes of it, and its command line, on a test's server."""

    def __init__(self, bench: Bench, folder: Path):
        self.bench, self.folder = bench, folder
        self.app = Celery("tests", broker=bench.server.url, backend=f"file://{folder}", set_as_current=False)
        self._connection = bench.connect(stock=True)  # Celery's pools outlast the server of a test
        # Its own environment alone: a developer's may name another broker.
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("CELERY")}
        self.environ |= {
            "CELERY_APP": "tests.transport.app",
            "CELERY_BROKER_URL": bench.server.url,
            "CELERY_RESULT_BACKEND": f"file://{folder}",
            "CELERY_WORKER_POOL": "solo",
            "CELERYKIT_STATE_DIR": str(folder),
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        }

    @contextmanager
    def worker(self, **environ: str) -> Iterator[Path]:
        """Run a worker until the end of the block, which it ends by itself, and yield its log."""
        log = self.folder / "log"
        command = [sys.executable, "-m", "celerykit", "worker"]
        with log.open("wb") as out:
            program = subprocess.Popen(command, env=self.environ | environ, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield log
            program.terminate()
            program.wait(PATIENCE)
        finally:
            program.kill()
            program.wait()

    def waiting(self, *options: str) -> tuple[int, list[str]]:
        """Run ``celerykit waiting``, and return its exit code and its lines."""
        command = [sys.executable, "-m", "celerykit", "waiting", *options]
        ran = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=PATIENCE)
        assert "Traceback" not in ran.stderr, ran.stderr
        return ran.returncode, ran.stdout.splitlines()

    def send(self, number: int = 1, **options: int) -> list[str]:
        """Send jobs that are due in an hour, and return their ids."""
        told = {"countdown": HOUR, "connection": self._connection, **options}
        return [self.app.send_task("jobs.work", **told).id for _ in range(number)]

    def scheduled(self) -> list[dict[str, Any]]:
        """Return the answer of the one worker to ``celery inspect scheduled``."""
        inspect = self.app.control.inspect(timeout=20, limit=1, connection=self._connection)
        ((told,),) = [inspect.scheduled().values()]
        return list(told)

    def revoke(self, job: str) -> None:
        """Revoke a job."""
        self.app.control.revoke(job, connection=self._connection)

    def put_off(self, number: int, queue: str = "celery") -> None:
        """Wait until so many jobs wait for a queue."""
        until(lambda: self.bench.root.zcard(f"celerykit.waiting:{queue}") == number, PATIENCE, f"{number} wait")

    def state(self, job: str) -> str:
        """Return a job's state."""
        return str(self.app.AsyncResult(job).state)


@pytest.fixture
def site(bench: Bench, tmp_path: Path) -> Site:
    """An app and its worker, on an empty server."""
    return Site(bench, tmp_path)


def test_a_worker_tells_of_jobs_on_the_server_and_ends_them(site: Site) -> None:
    """`inspect scheduled` has them with their time; one that is revoked or expires is REVOKED long before it."""
    began = time.time()
    kept, revoked = site.send(2)
    (expired,) = site.send(expires=4)
    with site.worker():
        site.put_off(3)
        told = site.scheduled()
        assert [job["request"]["id"] for job in told] == [expired, kept, revoked]
        assert {job["request"]["type"] for job in told} == {"jobs.work"}
        etas = [datetime.fromisoformat(job["eta"]).timestamp() for job in told]
        assert all(HOUR - 5 < eta - began < HOUR + PATIENCE for eta in etas)
        site.revoke(revoked)
        until(lambda: site.state(revoked) == site.state(expired) == "REVOKED", 20, "both are ended")
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
