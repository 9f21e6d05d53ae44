"""Result backends keep what jobs return, and one that is away costs no job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers.kinds import (
    FOLDER,
    IN_DYNAMODB,
    IN_FILES,
    IN_MARIADB,
    IN_MEMCACHED,
    IN_MONGODB,
    IN_OPENSEARCH,
    IN_REDIS,
    IN_REDIS_APART,
    IN_REPLIES,
    IN_S3,
    IN_SQLITE,
    NOWHERE,
    Backend,
    each,
    settings,
)
from tests.brokers.scene import serve
from tests.rig.containers import REDIS_IMAGE
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.brokers.conftest import Seen
    from tests.rig.containers import Rig
    from tests.rig.process import Process

DAY = 24 * 60 * 60
KEPT = {
    "value": 5,
    "state elsewhere": "SUCCESS",
    "forgotten": "PENDING",
    "error": "ValueError('for a reason')",
    "state": "FAILURE",
    "traceback": "ValueError: for a reason",
    "group": [0, 2, 4, 6],
    "chord": 12,
}


@pytest.fixture
def stack(rig: Rig, installed: str) -> Rig:
    """A rig with its broker, on Redis, and the app."""
    rig.redis()
    rig.app = installed
    return rig


def worker(rig: Rig, kind: Backend, **options: Any) -> Process:
    """Start a worker whose results go there."""
    volumes = {f"{rig.name}-results": {"bind": FOLDER, "mode": "rw"}}
    url = rig.result_backend if kind is IN_REDIS else kind.url or "UNSET"
    told = {**settings(kind), "CELERY_RESULT_BACKEND": url, **options}
    return rig.worker("prefork", "others", working_dir="/app/current", volumes=volumes, **told)


def ask(worker: Process) -> dict[str, Any]:
    """Return what is answered to all questions, from where the worker is."""
    return dict(json.loads(worker.sh("python -m asking").splitlines()[-1]))


@each(
    *(IN_REDIS, IN_MEMCACHED, IN_SQLITE, IN_FILES),
    *(IN_MARIADB, IN_MONGODB, IN_OPENSEARCH, IN_S3, IN_DYNAMODB),
)
def test_results_are_kept_for_who_asks(stack: Rig, seen: Seen, kind: Backend) -> None:
    """Value, error with traceback, group and chord, by whichever program; what is forgotten is gone."""
    server = serve(stack, kind)
    assert ask(worker(stack, kind)) == KEPT
    if server is not None:
        seen("version", server.sh(kind.version).strip())
    seen("results", "kept, for any program")
    seen("chords", "yes")


@each(IN_REPLIES)
def test_replies_are_for_the_sender_alone(stack: Rig, seen: Seen, kind: Backend) -> None:
    """Nobody else can read them, and a chord is refused with the reason, instead of never ending."""
    answers = ask(worker(stack, kind))
    refusal = answers["chord"]
    assert '"rpc" result backend does not support chords' in refusal, refusal
    assert answers == {**KEPT, "state elsewhere": "PENDING", "chord": refusal}
    seen("results", "for the sender alone")
    seen("chords", "refused")


@each(NOWHERE)
def test_jobs_without_a_result_backend_are_done(stack: Rig, kind: Backend) -> None:
    """Fire and forget needs none: whoever asks for a result all the same is told so."""
    process = worker(stack, kind)
    stack.client.work(4, 0.1)
    stack.assert_nothing_lost()
    ask = ["python", "-c", "import others; others.add.delay(1, 2).get(timeout=9)"]
    code, said = process.container.exec_run(ask)
    assert code != 0 and b"No result backend is configured" in said


@pytest.fixture
def results(stack: Rig) -> Process:
    """A Redis for results alone, beside the broker's."""
    told = ["--protected-mode", "no", "--appendonly", "yes"]
    volumes = {f"{stack.name}-redis": {"bind": "/data", "mode": "rw"}}
    return stack.run(REDIS_IMAGE, name="results", command=told, volumes=volumes)


APART = each(IN_REDIS_APART)


@APART
def test_a_result_is_gone_after_a_day(stack: Rig, results: Process, kind: Backend) -> None:
    """An app that says nothing does not fill the server for ever."""
    process = worker(stack, kind)
    send = "import others; job = others.add.delay(1, 2); job.get(timeout=60); print(job.id)"
    job = process.sh(f"python -c '{send}'").strip()
    left = int(results.sh(f"redis-cli ttl celery-task-meta-{job}"))
    assert DAY - 60 < left <= DAY


@APART
@pytest.mark.parametrize("pool_class", ["prefork", "threads"])
def test_no_job_is_lost_while_the_result_backend_is_away(
    stack: Rig, results: Process, kind: Backend, pool_class: str
) -> None:
    """Jobs that end meanwhile are done once, and each has its result when the server is there again."""
    process = worker(stack, kind, CELERY_WORKER_POOL=pool_class)
    jobs = stack.client.work(8, 1.0)
    stack.ledger.wait_running(2)
    results.stop()
    until(lambda: len(stack.ledger.account().done) >= 2, 30, "jobs that end while nobody takes their results")
    results.start()
    stack.assert_nothing_lost()
    assert set(stack.ledger.account().done) == set(jobs)
    ask_states = "import sys, others; print(*{others.app.AsyncResult(job).state for job in sys.argv[1:]})"
    states = f"python -c '{ask_states}' {' '.join(jobs)}"
    until(lambda: process.sh(states).split() == ["SUCCESS"], 60, lambda: process.sh(states))
