"""How the pools of this machine are: what the init system knows of each, and what each says of itself."""

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
    """One pool."""

    pool: str
    unit: str
    """``active``, ``failed`` ... with systemd; else nothing."""
    wanted: bool
    """Whether it should be running: enabled, or simply there where no init system says so."""
    pid: int
    ready: bool
    reason: str
    concurrency: int = 0
    """How many jobs it runs at once; 0 if that is not known."""
    why: str = ""
    """Why that is so, if it has changed while it runs."""
    advised: bool = False
    """Whether its jobs were lately seen to need what only another start of it brings."""
    waiting: int = 0
    """How many jobs of its queues wait for their time on the broker."""

    @property
    def well(self) -> bool:
        """Whether it is as it should be."""
        return self.ready or not self.wanted

    @property
    def size(self) -> str:
        """How many jobs it runs at once, and why."""
        return f"concurrency {self.concurrency}{f' ({self.why})' if self.why else ''}" if self.concurrency else ""

    def __str__(self) -> str:
        state = self.unit or ("running" if self.pid else "not running")
        pid = f"PID {self.pid}" if self.pid else "-"
        note = "" if self.wanted else " (not enabled)"
        later = f"{self.waiting} jobs wait for their time" if self.waiting else ""
        said = "; ".join(part for part in (self.reason, self.size, later) if part) + note
        return f"{self.pool:<16}{state:<14}{pid:<12}{'ready' if self.ready else 'not ready':<11}{said}"


def status(environ: Mapping[str, str] = os.environ, systemctl: umbrella.Systemctl = umbrella.systemctl) -> list[Status]:
    """Return every pool that has an env file, is enabled or is loaded."""
    names = environment.pools(environment.config_dir(environ))
    folder = environ.get(settings.variable("state_dir")) or _state_dir(environ)
    if not BOOTED_BY_SYSTEMD.is_dir():
        known = names or sorted(map(environment.pool_of, Path(folder).glob("worker-*.json")))
        return [_of_itself(name, folder) for name in known or [environment.DEFAULT_POOL]]
    wanted = umbrella.enabled(systemctl)
    units = {*wanted, *umbrella.loaded(systemctl), *(umbrella.unit_of(name) for name in names)}
    return [
        _with_unit(unit, folder, umbrella.unit_of(unit.pool) in wanted)
        for unit in umbrella.look(sorted(units), systemctl)
    ]


def _with_unit(unit: umbrella.Unit, folder: str, wanted: bool) -> Status:
    said = _of_itself(unit.pool, folder)
    if unit.runs:
        ready = said.ready and said.pid == unit.pid
        return replace(said, unit=unit.active, wanted=wanted, pid=unit.pid, ready=ready)
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
    """Return the units' folder, which a reader need not be able to write; if it is empty, where else workers write."""
    return instance.STATE_DIR if any(Path(instance.STATE_DIR).glob("*.json")) else instance.state_folder(environ)
