"""For how long a worker may be silent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celerykit.worker import liveness


def worker(pool: str, *time_limits: float | None) -> Any:
    """Return a worker as far as it is asked, whose tasks have these time limits."""
    app = SimpleNamespace(conf=SimpleNamespace(task_time_limit=None))
    tasks = {str(number): SimpleNamespace(time_limit=limit, app=app) for number, limit in enumerate(time_limits)}
    return SimpleNamespace(app=SimpleNamespace(tasks=tasks), pool_cls=SimpleNamespace(__module__=pool))


@pytest.mark.parametrize(
    ("pool", "seconds"),
    [
        ("celery.concurrency.prefork", 30),
        ("celery.concurrency.solo", 650),
        ("celerykit.worker.threads", 650),
        ("celery.concurrency.gevent", 650),
    ],
)
def test_a_worker_is_waited_for_as_long_as_its_jobs_may_hold_it_up(
    monkeypatch: pytest.MonkeyPatch, pool: str, seconds: float
) -> None:
    """By the longest time that a job may take, and not at all where jobs have processes of their own."""
    monkeypatch.setenv("CELERYKIT_STUCK_AFTER", "20")
    monkeypatch.setenv("CELERYKIT_LONGEST_JOB", "620")
    assert liveness.longest_silence(worker(pool, None, 60.0)) == seconds


def test_a_task_may_take_longer_than_the_longest_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own time limit wins."""
    monkeypatch.setenv("CELERYKIT_STUCK_AFTER", "20")
    monkeypatch.setenv("CELERYKIT_LONGEST_JOB", "620")
    assert liveness.longest_silence(worker("celery.concurrency.solo", None, 7200.0)) == 7230
