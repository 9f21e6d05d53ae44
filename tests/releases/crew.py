"""Workers of one release of Celery, in processes of this machine, and what their jobs have written down."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.releases.servers import Broker

ROOT = Path(__file__).parents[2]
APP = Path(__file__).parent
SLOTS = 4
STUCK_AFTER = 12.0
"""Seconds after which a worker that makes no progress ends itself: short, as a test has to outlast it."""
READY = 60.0


class Worker:
    """A worker under the kit, in a process group of its own."""

    def __init__(self, python: Path, name: str, pool: str, folder: Path, environment: Mapping[str, str]):
        self._folder = folder / name
        self._folder.mkdir()
        self._log = self._folder / "log"
        own = {"CELERYKIT_STATE_DIR": str(self._folder), "CELERY_WORKER_HOSTNAME": f"{name}@test"}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [python, "-m", "celerykit", "worker", "--", "-P", pool, "-c", str(SLOTS)],
                cwd=APP,
                env={**environment, **own},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._python, self._environment = python, {**environment, **own}

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text(errors="replace")

    def wait_ready(self) -> None:
        """Wait until it consumes."""
        until(self._is_ready, READY, lambda: f"the worker is ready; its log:\n{self.log[-6000:]}")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}; its log:\n{self.log[-6000:]}"
        command = [self._python, "-m", "celerykit", "probe", "worker", "--ready"]
        return subprocess.run(command, env=self._environment, capture_output=True, check=False).returncode == 0

    def stop(self) -> int:
        """Have it end as a supervisor does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """Kill it with all of its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def kill_child(self) -> None:
        """Kill one of its children."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        os.kill(int(path.read_text().split()[0]), signal.SIGKILL)


class Crew:
    """Whoever sends and runs jobs with one release of Celery."""

    def __init__(self, python: Path, pool: str, broker: Broker, folder: Path):
        """Hold what they share.

        :param python: the interpreter of the release's virtualenv.
        :param folder: an empty one.
        """
        self.pool = pool
        self._python, self._folder = python, folder
        self._done = folder / "done"
        self._done.touch()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CELERY", "PYTHON"))},
            "PYTHONPATH": str(ROOT / "src"),
            "CELERY_APP": "jobs",
            "CELERY_LOADER": "celerykit.loader:Loader",
            "CELERY_BROKER_URL": broker.url,
            "CELERYKIT_STUCK_AFTER": f"{STUCK_AFTER:g}",
            "CELERYKIT_TUNE": "off",
            "JOBS_DONE": str(self._done),
        }
        self._of_sender = {**self.environment, "CELERY_BROKER_URL": broker.url_of_sender}
        self._workers: list[Worker] = []
        self.sent = 0

    def start(self) -> Worker:
        """Start one more worker, and wait until it consumes."""
        name = f"worker{len(self._workers)}"
        worker = Worker(self._python, name, self.pool, self._folder, self.environment)
        self._workers.append(worker)
        worker.wait_ready()
        return worker

    def send(self, jobs: int, seconds: float = 0.1) -> None:
        """Send some jobs, and return when the broker has them."""
        command = [self._python, "jobs.py", str(self.sent), str(self.sent + jobs), str(seconds)]
        done = subprocess.run(command, cwd=APP, env=self._of_sender, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        self.sent += jobs

    def send_too_long(self) -> None:
        """Send a job that runs into its hard time limit."""
        command = [self._python, "-c", "import jobs; jobs.too_long.delay()"]
        subprocess.run(command, cwd=APP, env=self._of_sender, check=True)

    def done(self) -> Counter[int]:
        """Return how often each job was done."""
        return Counter(map(int, self._done.read_text().split()))

    def wait_done(self, jobs: int, seconds: float) -> None:
        """Wait until so many of all jobs are done at least once."""
        until(lambda: len(self.done()) >= jobs, seconds, lambda: f"{len(self.done())} of {self.sent}\n{self._logs()}")

    def wait_all(self, seconds: float) -> float:
        """Wait until none is missing, and return the seconds that it took."""
        began = time.monotonic()
        self.wait_done(self.sent, seconds)
        return time.monotonic() - began

    def close(self) -> None:
        """Kill whoever is left."""
        for worker in self._workers:
            worker.kill()

    def _logs(self) -> str:
        return "\n".join(worker.log[-3000:] for worker in self._workers)
