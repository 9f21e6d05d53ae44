"""How defaults are written down: each a row, in tables that hold for every process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from celerykit.config.pool_kinds import GREEN_POOLS, PREFORK
from celerykit.config.settings import AT_LEAST_ONCE, Settings


class Process(NamedTuple):
    """What a default may depend on."""

    settings: Settings
    pool_class: str = PREFORK
    """The alias of the worker pool as ``-P`` takes it."""

    @property
    def is_green(self) -> bool:
        """Whether its pool is one of greenlets."""
        return self.pool_class in GREEN_POOLS

    @property
    def redelivers(self) -> bool:
        """Whether a job runs again if its worker dies."""
        return self.settings.delivery == AT_LEAST_ONCE


def _always(_: Process) -> bool:
    return True


@dataclass(frozen=True)
class Default:
    """A setting of Celery, the kit's value and why it is not Celery's own."""

    name: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Row:
    """A default whose value may depend on the process."""

    name: str
    value: Any
    """The value, or a function of the process that returns it."""
    reason: str
    holds: Callable[[Process], bool] = _always
    """Says whether a process has it at all."""

    def of(self, process: Process) -> Default:
        """Return it with the value that it has in a process."""
        return Default(self.name, self.value(process) if callable(self.value) else self.value, self.reason)


def defaults_of(table: Iterable[Row], process: Process) -> list[Default]:
    """Return the defaults of a table that a process has."""
    return [row.of(process) for row in table if row.holds(process)]
