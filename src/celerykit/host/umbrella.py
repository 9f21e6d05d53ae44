"""The verbs of ``celeryd.service``: they act on all enabled pools of this host, through systemd."""

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

NAME = instance.named(instance.UMBRELLA)
UMBRELLA = f"{NAME}.service"
EVERY_POOL = f"{NAME}@*.service"
LOOK_AGAIN = 5.0
"""Seconds between two looks at the pools."""
BEFORE_REVIVAL = 1.0
"""Seconds before a killed umbrella is started again, so that repeated kills do not load the machine."""
KILLED = frozenset({"signal", "core-dump", "oom-kill", "watchdog"})
"""The values of ``SERVICE_RESULT`` for a killed process; ``systemd.exec(5)`` lists all values."""
PROPERTIES = ("Id", "ActiveState", "SubState", "MainPID", "Result", "ExecMainStatus", "NRestarts", "StatusText")


class PoolsError(Exception):
    """A verb has failed; the message names the pool and the reason."""


@dataclass(frozen=True)
class Unit:
    """The unit of a pool."""

    pool: str
    active: str
    """The answer of ``systemctl is-active``, such as ``active``, ``activating`` or ``failed``."""
    pid: int
    text: str
    """Its last ``STATUS=``, or the reason of its end."""
    restarts: int = 0
    """The number of restarts by systemd itself."""
    retries: bool = False
    """Whether it has failed, and systemd itself will restart it."""

    @property
    def runs(self) -> bool:
        """Whether it has started and not ended."""
        return self.active in {"active", "reloading"}


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``systemctl``, wait for its end and return the result."""
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)


def unit_of(pool: str) -> str:
    """Return the name of a pool's unit."""
    return f"{NAME}@{pool}.service"


def enabled(systemd: Systemctl = systemctl) -> list[str]:
    """Return the units of the pools that start with the umbrella."""
    wanted = systemd("show", "--property=Wants", "--value", UMBRELLA).stdout.split()
    return sorted(unit for unit in wanted if unit.startswith(f"{NAME}@"))


def loaded(systemd: Systemctl = systemctl) -> list[str]:
    """Return the units of the pools that run, start, stop or have failed."""
    listed = systemd("list-units", "--all", "--plain", "--no-legend", "--full", EVERY_POOL).stdout.splitlines()
    return sorted(line.split()[0] for line in listed if line.strip())


def look(units: Sequence[str], systemd: Systemctl = systemctl) -> list[Unit]:
    """Return the state of some units."""
    if not units:
        return []
    answer = systemd("show", f"--property={','.join(PROPERTIES)}", *units).stdout
    shown = (dict(line.split("=", 1) for line in block.splitlines()) for block in answer.strip().split("\n\n"))
    return [_unit(one) for one in shown if one]


def run(systemd: Systemctl = systemctl, looks: Iterable[None] | None = None) -> None:
    """Start the enabled pools, then keep the umbrella's ``STATUS=`` up to date until the process ends.

    :raises PoolsError: if there are pools and not one starts.
    """
    units = enabled(systemd)
    notify(f"STATUS=starting {_names(units)}")
    if waiting := [unit_of(pool.pool) for pool in look(units, systemd) if pool.retries]:
        systemd("stop", *waiting)  # a start would join their next attempt, up to a minute later
    if units:
        systemd("start", *units)
    pools = look(units, systemd)
    notify(f"STATUS={summary(pools)}")
    if pools and not any(pool.runs for pool in pools):
        raise PoolsError(f"no pool started: {'; '.join(map(why, pools))}")
    notify("READY=1")
    reported = ""
    for _ in _forever() if looks is None else looks:
        with contextlib.suppress(OSError):  # a machine out of memory cannot run systemctl; try again later
            text = summary(look(enabled(systemd), systemd))
            if text != reported:
                notify(f"STATUS={text}")
            reported = text


def stop(systemd: Systemctl = systemctl) -> None:
    """Stop every pool, the disabled ones, too, and wait until the last one has drained.

    :raises PoolsError: if systemd refuses.
    """
    notify("STATUS=stopping")
    _require(systemd("stop", EVERY_POOL), "pools could not be stopped")


def reload(systemd: Systemctl = systemctl) -> None:
    """Restart one pool after the other, each once the one before consumes again.

    :raises PoolsError: if a pool does not come back; the pools after it are not restarted.
    """
    running = [unit_of(pool.pool) for pool in look(loaded(systemd), systemd) if pool.runs]
    for unit in sorted({*enabled(systemd), *running}):
        done = systemd("restart", unit)
        _require(done, f"{unit} did not come back, the pools after it were not touched")


def revive(
    environ: Mapping[str, str] = os.environ, systemd: Systemctl = systemctl, pause: Callable[[float], None] = time.sleep
) -> None:
    """Start the umbrella again after a kill; runs as its ``ExecStopPost=``.

    ``Restart=`` would also restart the pools, because they are ``PartOf=`` the umbrella; a start keeps running ones.
    """
    if environ.get("SERVICE_RESULT") in KILLED:
        pause(BEFORE_REVIVAL)
        _start_umbrella(systemd)


def rejoin(systemd: Systemctl = systemctl) -> None:
    """Start an umbrella that failed without a started pool, once a restart by systemd has started one.

    Runs as the ``ExecStartPost=`` of each pool. A stopped umbrella stays stopped.
    """
    if systemd("is-failed", UMBRELLA).returncode == 0 and any(
        pool.restarts for pool in look(enabled(systemd), systemd)
    ):
        _start_umbrella(systemd)


def summary(pools: Sequence[Unit]) -> str:
    """Return the umbrella's status: the number of running pools, and the reasons of the others."""
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


def _start_umbrella(systemd: Systemctl) -> None:
    systemd("start", "--no-block", "--job-mode=fail", UMBRELLA)  # a pending stop wins


def _require(done: subprocess.CompletedProcess[str], problem: str) -> None:
    if done.returncode:
        raise PoolsError(f"{problem}: {done.stderr.strip()}")


def _names(pools: Iterable[str]) -> str:
    return ", ".join(map(_pool_of, pools))


def _forever() -> Iterator[None]:
    while True:
        yield
        time.sleep(LOOK_AGAIN)
