"""The answers of workers to ``celery inspect``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.rig.process import Process

UNSAID = {"CELERY_WORKER_CONCURRENCY": "UNSET"}
"""Leaves the size of a worker to the kit."""


def inspect(worker: Process, question: str) -> dict[str, Any]:
    """Return the answer of each worker, by the name of its pool."""
    answers: dict[str, Any] = json.loads(worker.sh(f"celery inspect {question} --json --timeout 5"))
    return {node.partition("@")[0]: answer for node, answer in answers.items()}


def slots(worker: Process) -> dict[str, int]:
    """Return how many jobs each pool runs at once."""
    return {node: stats["pool"]["max-concurrency"] for node, stats in inspect(worker, "stats").items()}
