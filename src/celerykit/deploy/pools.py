"""The pools that run on a host; each replica of a pool is a pool with a unit of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celerykit.config import environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celerykit.deploy.refusals import Refusals
    from celerykit.deploy.variables import Pool, Variables

AUTO = "auto"
"""The number of replicas that the host advises by the jobs that it has seen."""


def replicas(values: Variables, manager: str, refusals: Refusals) -> dict[str, Pool]:
    """Return each pool that runs, by its name; replicas of a pool have one item of ``celery_workers``."""
    found: dict[str, Pool] = {}
    for number, pool in enumerate(values["workers"]):
        name, where = str(pool["name"]), f"celery_workers[{number}]"
        if not environment.POOL_NAME.fullmatch(name):
            refusals.add(f"{where}.name={name}", "not letters, digits, '_' and '-'", "Name the pool so")
        if pool.get("limits") and manager != "systemd":
            problem = f"directives of systemd, and this host has {manager}"
            refusals.add(f"{where}.limits", problem, "Take them out; max_memory_per_child is an option everywhere")
        for replica in _names(pool, f"{where}.replicas", values["replicas"], refusals):
            if replica in found:
                refusals.add(f"{where}.name={name}", f"two pools are named {replica}", "Rename one of them")
            found[replica] = pool
    return found


def _names(pool: Pool, where: str, advised: Mapping[str, object], refusals: Refusals) -> list[str]:
    """Return the names of a pool's replicas. Where the host gives their number, the first keeps the pool's name."""
    name, number = str(pool["name"]), str(pool.get("replicas", 1))
    if number == AUTO:
        advice = str(advised.get(name, ""))
        return [name, *(f"{name}-{index}" for index in range(2, int(advice if advice.isdigit() else 1) + 1))]
    if not number.isdigit() or not int(number):
        remedy = f"Write a number, or {AUTO}; to have no such pool, take it off the list"
        refusals.add(f"{where}={number}", "not at least 1", remedy)
        return []
    return [name] if number == "1" else [f"{name}-{index}" for index in range(1, int(number) + 1)]
