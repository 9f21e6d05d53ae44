"""What starts, watches and stops the processes of a host: the files that each service manager wants."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).resolve().parent
SYSTEMD = "/etc/systemd/system"
PROGRAMS = "/etc/supervisor/conf.d"
UMBRELLA, BEAT, FLOWER = "celeryd", "celerybeat", "celery-flower"
"""What systemd calls units, and supervisor programs; of sysvinit the scripts."""
UNITS = (UMBRELLA, "celeryd@", BEAT, FLOWER)
MARGIN = 10
"""Seconds beyond its own budget after which supervisor kills a worker."""
RISING_DELAY = 254
"""The release of systemd that knows what is in restart-delay.conf."""


def unit_of(pool: str) -> str:
    """Return the unit of a pool."""
    return f"celeryd@{pool}"


def phase_of(unit: str) -> str:
    """Return the phase that a unit belongs to."""
    return {BEAT: "beat", FLOWER: "flower"}.get(unit, "pools")


def units(readers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield all units of the kit, whichever are enabled: what is to stop needs its unit until it has.

    :param readers: the units that run.
    """
    for name in UNITS:
        of_it = [unit for unit in readers if unit == name or ("@" in unit and "@" in name)]
        yield _file("units", f"{SYSTEMD}/{name}.service", text=static(f"systemd/{name}.service"), units=of_it)
        if name != UMBRELLA:
            path = f"{SYSTEMD}/{name}.service.d/restart-delay.conf"
            text = static("systemd/restart-delay.conf")
            yield _file("units", path, text=text, units=of_it, systemd=RISING_DELAY)
    yield _file("units", "/etc/tmpfiles.d/celery.conf", text=static("systemd/tmpfiles.d/celery.conf"))


def scripts(readers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield all scripts of the kit; celeryd is what the others call."""
    for name in (UMBRELLA, BEAT, FLOWER):
        of_it = [unit for unit in readers if name in (UMBRELLA, unit)]
        yield _file("units", f"/etc/init.d/{name}", text=static(f"init.d/{name}"), mode="0755", units=of_it)


def programs(header: str, budgets: Mapping[str, int], others: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield a program for each process that is to run, and the folders that it stands on.

    :param header: what begins each file that is generated.
    :param budgets: the seconds that a stop of each pool may take.
    :param others: which of ``beat`` and ``flower`` run.
    """
    for folder in ("/run/celery", "/var/lib/celery"):
        yield _file("units", folder, mode="0775", group="celery")
    yield _file("units", "/var/log/celery", mode="0755")
    header = header.replace("#", ";")
    yield _program(header, "folders", "units", "celery-folders", [])
    for pool, budget in budgets.items():
        wait = f"stopwaitsecs={budget + MARGIN}"
        changes = {"@default": f"@{pool}", "worker default": f"worker {pool}", "stopwaitsecs=610": wait}
        yield _program(header, "worker", "pools", unit_of(pool), [unit_of(pool)], changes)
    for name in (BEAT, FLOWER):
        if phase_of(name) in others:
            yield _program(header, phase_of(name), phase_of(name), name, [name])


def section(lines: Mapping[str, Any]) -> str:
    """Return the directives of a drop-in, a list as one line for each item.

    :raises ValueError: with the line that a unit cannot hold.
    """
    text = "[Service]\n"
    for key, value in lines.items():
        for one in value if isinstance(value, list) else [value]:
            said = text_of(one, yes="yes", no="no")
            if not re.fullmatch(r"[A-Za-z0-9]+", key) or "\n" in said or said.endswith("\\"):
                raise ValueError(f"{key}={said}")
            text += f"{key}={said}\n"
    return text


def text_of(value: Any, yes: str = "true", no: str = "false") -> str:
    """Return a value of YAML as its readers want it."""
    if isinstance(value, bool):
        return yes if value else no
    if isinstance(value, (list, tuple)):
        return ",".join(map(text_of, value))
    return str(value)


def static(name: str) -> str:
    """Return a file of the kit's that is the same on every host."""
    return (HERE / name).read_text(encoding="utf-8")


def _program(
    header: str, source: str, phase: str, name: str, readers: list[str], changes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    text = static(f"supervisor/{source}.conf")
    for old, new in (changes or {}).items():
        text = text.replace(old, new)
    return _file(phase, f"{PROGRAMS}/{name}.conf", text=header + text, units=readers)


def _file(phase: str, path: str, **entry: Any) -> dict[str, Any]:
    return {"phase": phase, "path": path, **entry}
