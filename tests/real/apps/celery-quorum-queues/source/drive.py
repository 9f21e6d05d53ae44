"""Send jobs of the example."""

from __future__ import annotations

from celery import group
from driving import drive
from myapp import add


def send(number: int) -> list[str]:
    """Send groups, and return the ids of their jobs."""
    results = [group(add.s(1, 2), add.s(3, 4), add.s(5, 6)).apply_async() for _ in range(number // 3)]
    return [job.id for result in results for job in result.children]


drive(send)
