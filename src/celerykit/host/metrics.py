"""Metrics of the pools of this machine, in Prometheus's text format, as its node exporter collects it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from celerykit.host.status import Status

GAUGES: dict[str, tuple[str, Callable[[Status], float | None]]] = {
    "wanted": ("Whether the pool should run: enabled, or simply there.", lambda one: one.wanted),
    "ready": ("Whether its worker consumes.", lambda one: one.ready),
    "concurrency": ("The number of jobs that its worker runs at once.", lambda one: one.concurrency or None),
    "waiting": (
        "The number of jobs of its queues that wait on the broker for their ETA, countdown or retry.",
        lambda one: one.waiting if one.pid else None,
    ),
    "restart_advised": (
        "Whether recent jobs need a size that only a restart brings; see celerykit tune.",
        lambda one: one.advised if one.pid else None,
    ),
}
"""The gauges by their names after ``celerykit_worker_``: the help text, and a function that returns the value."""
ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def exposition(statuses: Iterable[Status]) -> str:
    """Return a sample of each gauge for each pool.

    The format is Prometheus's text exposition format 0.0.4.
    """
    pools = list(statuses)
    return "".join(f"{line}\n" for name in GAUGES for line in _lines(name, pools))


def _lines(name: str, pools: Iterable[Status]) -> Iterator[str]:
    text, value = GAUGES[name]
    full = f"celerykit_worker_{name}"
    yield f"# HELP {full} {text}"
    yield f"# TYPE {full} gauge"
    for one in pools:
        number = value(one)
        if number is not None:
            yield f'{full}{{pool="{one.pool.translate(ESCAPED)}"}} {float(number)}'
