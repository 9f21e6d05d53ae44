"""The jobs: count a file, summarise all files, report."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from celery.utils.log import get_task_logger

from sourcestats import counting
from sourcestats.celery import app

logger = get_task_logger(__name__)


@app.task
def measure(path: str) -> dict[str, Any]:
    """Count what the file ``path`` holds.

    A file that cannot be read is a result too: one job that fails would take the summary of all others with it.
    """
    return asdict(counting.measure(path))


@app.task
def summarise(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the results of :func:`measure`."""
    summary = counting.summarise([counting.File(**file) for file in files])
    logger.info("%s files, %s lines", f"{summary.files:,}", f"{summary.lines:,}")
    return asdict(summary)


@app.task(ignore_result=True)
def report() -> None:
    """Say how many files the workers have measured since they started."""
    # A job of the solo pool holds up its own worker's answer, so that worker is not in its own report.
    answers = app.control.inspect(timeout=1.0).stats() or {}
    done = sum(answer.get("total", {}).get(measure.name, 0) for answer in answers.values())
    logger.info("Report: %s files measured, %d workers", f"{done:,}", len(answers))
