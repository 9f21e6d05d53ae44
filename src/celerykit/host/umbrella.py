"""What ``celeryd.service`` does at each verb: all enabled pools of this host, through systemd."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celerykit import instance
from celerykit.health.sd_notify import notify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Systemctl = Callable[..., "subprocess.CompletedProcess[str]"]

NAME = instance.named("celeryd")
UMBRELLA = f"{NAME}.service"
EVERY_POOL = f"{NAME}@*.service"
LOOK_AGAIN = 5.0
"""Seconds between two looks at the pools."""
BEFORE_REVIVAL = 1.0
"""Seconds: what kills the umbrella again and again shall not keep the machine busy."""
KILLED = frozenset({"signal", "core-dump", "oom-kill", "watchdog"})
"""The values of ``SERVICE_RESULT`` that tell of a death; ``systemd.exec(5)`` lists all."""
PROPERTIES = ("Id", "ActiveState", "SubState", "MainPID", "Result", "ExecMainStatus", "NRestarts", "StatusText")


class PoolsError(Exception):
    """A verb could not be carried out; the message says at which pool and why."""


@dataclass(frozen=True)
class Unit:
    """A pool as systemd sees it."""

    pool: str
    active: str
    """``active``, ``activating``, ``failed`` ... as ``systemctl is-active`` says."""
    pid: int
    text: str
    """Its own last ``STATUS=``, or how it ended."""
    restarts: int = 0
    """How often systemd has started it by itself."""
    retries: bool = False
    """Whether it failed, and systemd starts it by itself now or later."""

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self.active in {"active", "reloading"}


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``systemctl`` and wait for it."""
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)


def unit_of(pool: str) -> str:
    """Return the unit of a pool."""
    return f"{NAME}@{pool}.service"


def enabled(ask: Systemctl = systemctl) -> list[str]:
    """Return the units of the pools that start with the umbrella."""
    wanted = ask("show", "--property=Wants", "--value", UMBRELLA).stdout.split()
    return sorted(unit for unit in wanted if unit.startswith(f"{NAME}@"))


def loaded(ask: Systemctl = systemctl) -> list[str]:
    """Return the units of the pools that run, start, stop or have failed."""
    listed = ask("list-units", "--all", "--plain", "--no-legend", "--full", EVERY_POOL).stdout.splitlines()
    return sorted(line.split()[0] for line in listed if line.strip())


def look(units: Sequence[str], ask: Systemctl = systemctl) -> list[Unit]:
    """Return how the pools are."""
    if not units:
        return []
    answer = ask("show", f"--property={','.join(PROPERTIES)}", *units).stdout
    shown = (dict(line.split("=", 1) for line in block.splitlines()) for block in answer.strip().split("\n\n"))
    return [_unit(one) for one in shown if one]


def run(ask: Systemctl = systemctl, looks: Iterable[None] | None = None) -> None:
    """Start the enabled pools, then keep the umbrella's ``STATUS=`` true until the process is ended.

    :raises PoolsError: if there are pools and not one starts.
    """
    units = enabled(ask)
    notify(f"STATUS=starting {_names(units)}")
    if waiting := [unit_of(pool.pool) for pool in look(units, ask) if pool.retries]:
        ask("stop", *waiting)  # a start would join their next attempt, which may be a minute off
    if units:
        ask("start", *units)
    pools = look(units, ask)
    notify(f"STATUS={summary(pools)}")
    if pools and not any(pool.runs for pool in pools):
        raise PoolsError(f"no pool started: {'; '.join(map(why, pools))}")
    notify("READY=1")
    said = ""
    for _ in _forever() if looks is None else looks:
        with contextlib.suppress(OSError):  # a machine out of memory has no room for systemctl; it may have later
            now = summary(look(enabled(ask), ask))
            if now != said:
                notify(f"STATUS={now}")
            said = now


def stop(ask: Systemctl = systemctl) -> None:
    """Stop every pool, the disabled ones too, and wait until the last has drained.

    :raises PoolsError: if systemd refuses.
    """
    notify("STATUS=stopping")
    _require(ask("stop", EVERY_POOL), "pools could not be stopped")


def reload(ask: Systemctl = systemctl) -> None:
    """Restart one pool after the other, each when the one before consumes again.

    :raises PoolsError: if one does not come back; those after it go on as they were.
    """
    running = [unit_of(pool.pool) for pool in look(loaded(ask), ask) if pool.runs]
    for unit in sorted({*enabled(ask), *running}):
        done = ask("restart", unit)
        _require(done, f"{unit} did not come back, the pools after it were not touched")


def revive(
    environ: Mapping[str, str] = os.environ, ask: Systemctl = systemctl, pause: Callable[[float], None] = time.sleep
) -> None:
    """Start the umbrella again if its process was killed; runs as its ``ExecStopPost=``.

    ``Restart=`` would restart the pools, too, which are ``PartOf=`` the umbrella; a start leaves those that run alone.
    """
    if environ.get("SERVICE_RESULT") in KILLED:
        pause(BEFORE_REVIVAL)
        _start_umbrella(ask)


def rejoin(ask: Systemctl = systemctl) -> None:
    """Start an umbrella that failed because no pool started, now that one has come up by itself.

    Runs as the ``ExecStartPost=`` of each pool. An umbrella that was stopped stays so.
    """
    if ask("is-failed", UMBRELLA).returncode == 0 and any(pool.restarts for pool in look(enabled(ask), ask)):
        _start_umbrella(ask)


def summary(pools: Sequence[Unit]) -> str:
    """Return the umbrella's status: how many pools run, and what keeps the others."""
    if not pools:
        return f"no pool is enabled: systemctl enable --now {NAME}@POOL"
    dead = [pool for pool in pools if not pool.runs]
    text = f"{len(pools) - len(dead)} of {len(pools)} pools run"
    return text + (f"; not: {'; '.join(map(why, dead))}" if dead else f": {_names(pool.pool for pool in pools)}")


def why(pool: Unit) -> str:
    """Return a pool's name, state and reason."""
    return f"{pool.pool} is {pool.active}" + (f" ({pool.text})" if pool.text else "")


def _unit(shown: dict[str, str]) -> Unit:
    ended = {
        "success": "",
        "exit-code": f"exit code {shown['ExecMainStatus']}",
        "signal": f"killed by signal {shown['ExecMainStatus']}",
        "timeout": "not ready in time",
    }
    active = shown["ActiveState"]
    restarts = int(shown["NRestarts"] or 0)
    pending = active == "activating" and shown["SubState"].startswith("auto-restart")
    starting = active == "activating" and shown["SubState"] == "start"
    text = shown.get("StatusText", "")
    if pending or active in {"failed", "inactive"}:
        reason = ended.get(shown["Result"], shown["Result"])
        text = ", ".join(filter(None, [reason, text, "starts again by itself" if pending else ""]))
    elif starting and restarts:
        text = ", ".join(filter(None, [f"restart number {restarts}", text]))
    pool = _pool_of(shown["Id"])
    return Unit(pool, active, int(shown["MainPID"] or 0), text, restarts, pending or (starting and restarts > 0))


def _pool_of(unit: str) -> str:
    return unit.removeprefix(f"{NAME}@").removesuffix(".service")


def _start_umbrella(ask: Systemctl) -> None:
    ask("start", "--no-block", "--job-mode=fail", UMBRELLA)  # a stop that waits already goes first


def _require(done: subprocess.CompletedProcess[str], problem: str) -> None:
    if done.returncode:
        raise PoolsError(f"{problem}: {done.stderr.strip()}")


def _names(pools: Iterable[str]) -> str:
    return ", ".join(map(_pool_of, pools))


def _forever() -> Iterator[None]:
    while True:
        yield
        time.sleep(LOOK_AGAIN)
