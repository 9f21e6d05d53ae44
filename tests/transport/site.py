"""An app and its worker with all that the kit makes of them, on the server of a test."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
