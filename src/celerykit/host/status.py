"""The status of the pools of this machine: their units by the init system, and their own state files."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from celerykit import instance
from celerykit.config import environment, settings
from celerykit.health import statefile
from celerykit.host import umbrella

if TYPE_CHECKING:
    from collections.abc import Mapping

BOOTED_BY_SYSTEMD = Path("/run/systemd/system")


@dataclass(frozen=True)
class Status:
    """The status of one pool."""

    pool: str
    unit: str
    """The unit's state, such as ``active`` or ``failed``; an empty string without systemd."""
    wanted: bool
    """Whether the pool should run: its unit is enabled, or there is no systemd."""
    pid: int
    ready: bool
    reason: str
    concurrency: int = 0
    """The number of slots, 0 if unknown."""
    why: str = ""
    """The reason for the concurrency, if it has changed since the start."""
    advised: bool = False
    """Whether its recent jobs need a size that only a restart brings."""
    waiting: int = 0
    """The number of jobs of its queues that wait on the broker for their ETA, countdown or retry."""

    @property
    def well(self) -> bool:
        """Whether the pool is ready, or need not run."""
        return self.ready or not self.wanted

    @property
    def size(self) -> str:
        """The concurrency and its reason, in words."""
        return f"concurrency {self.concurrency}{f' ({self.why})' if self.why else ''}" if self.concurrency else ""

    def __str__(self) -> str:
        state = self.unit or ("running" if self.pid else "not running")
        pid = f"PID {self.pid}" if self.pid else "-"
        note = "" if self.wanted else " (not enabled)"
        later = f"{self.waiting} jobs wait for their time" if self.waiting else ""
        text = "; ".join(part for part in (self.reason, self.size, later) if part) + note
        return f"{self.pool:<16}{state:<14}{pid:<12}{'ready' if self.ready else 'not ready':<11}{text}"


def status(environ: Mapping[str, str] = os.environ, systemctl: umbrella.Systemctl = umbrella.systemctl) -> list[Status]:
    """Return the status of every pool that has an env file, is enabled or is loaded."""
    names = environment.pools(environment.config_dir(environ))
    folder = environ.get(settings.variable("state_dir")) or _state_dir(environ)
    if not BOOTED_BY_SYSTEMD.is_dir():
        pools = names or sorted(map(environment.pool_of, Path(folder).glob("worker-*.json")))
        return [_of_itself(name, folder) for name in pools or [environment.DEFAULT_POOL]]
    wanted = umbrella.enabled(systemctl)
    units = {*wanted, *umbrella.loaded(systemctl), *(umbrella.unit_of(name) for name in names)}
    return [
        _with_unit(unit, folder, umbrella.unit_of(unit.pool) in wanted)
        for unit in umbrella.look(sorted(units), systemctl)
    ]


def _with_unit(unit: umbrella.Unit, folder: str, wanted: bool) -> Status:
    state = _of_itself(unit.pool, folder)
    if unit.runs:
        ready = state.ready and state.pid == unit.pid
        return replace(state, unit=unit.active, wanted=wanted, pid=unit.pid, ready=ready)
    return Status(
        unit.pool, unit.active, wanted, unit.pid, False, unit.text or f"see journalctl -u {umbrella.NAME}@{unit.pool}"
    )


def _of_itself(pool: str, folder: str) -> Status:
    state = statefile.read(statefile.path(folder, "worker", pool))
    live, why_not = statefile.judge(state, "live")
    ready, reason = statefile.judge(state, "ready")
    if state is None or not live:
        return Status(pool, "", True, 0, ready, why_not)
    return Status(pool, "", True, state.pid, ready, reason, state.concurrency, state.why, state.advised, state.waiting)


def _state_dir(environ: Mapping[str, str]) -> str:
    """Return the units' state folder if it holds state files, else the folder of this environment."""
    return instance.STATE_DIR if any(Path(instance.STATE_DIR).glob("*.json")) else instance.state_folder(environ)
