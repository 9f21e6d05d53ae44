"""Celery's prefork pool for brokers without an event loop, with every job told of that its child died with.

billiard never tells of a job whose child died before its word was read that it has the job: such a job waits for its
time limit, if it has one, and is a failure then, which is not delivered again.
"""

from __future__ import annotations

from typing import Any

import billiard.pool


class BlockingPool(billiard.pool.Pool):  # type: ignore[misc]
    """The pool of processes of a worker without an event loop (``TaskPool.BlockingPool``)."""

    def on_job_process_lost(self, job: Any, pid: int, exitcode: int) -> None:
        """Note when the job lost its child, with which its time limits end."""
        super().on_job_process_lost(job, pid, exitcode)
        job._time_accepted = None

    def mark_as_worker_lost(self, job: Any, exitcode: int) -> None:
        """Tell of the loss, unless what the child has said last may still be unread."""
        if not self._outqueue._reader.poll():
            super().mark_as_worker_lost(job, exitcode)

    def _join_exited_workers(self, shutdown: bool = False) -> Any:
        """Look for children that have died, and for jobs whose child had died before it was known whose they are."""
        exitcodes = super()._join_exited_workers(shutdown)
        living = {child.pid for child in tuple(self._pool)}
        for job in tuple(self._cache.values()):
            if not job.ready() and not job._worker_lost and job._worker_pid and job._worker_pid not in living:
                self.on_job_process_lost(job, job._worker_pid, 0)
        return exitcodes
