"""What starts, watches and stops the processes of a host: the files that each service manager wants."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).resolve().parent
SYSTEMD = "/etc/systemd/system"
PROGRAMS = "/etc/supervisor/conf.d"
UMBRELLA, BEAT, FLOWER = "celeryd", "celerybeat", "celery-flower"
"""What systemd calls units, and supervisor programs; of sysvinit the scripts. An instance adds its name."""
UNITS = (UMBRELLA, "celeryd@", BEAT, FLOWER)
MARGIN = 10
"""Seconds beyond its own budget after which supervisor kills a worker."""
RISING_DELAY = 254
"""The release of systemd that knows what is in restart-delay.conf."""


OWN = re.compile(r"(?<![\w-])(celery-flower|celery-folders|celerybeat|celeryd|celery)(?![\w-]|\.env)")
"""A name that is one app's alone: of a unit, a folder, a user; not of a file in such a folder."""
SERVER = re.compile(r"\b(redis|valkey)-server\.service")
INITTAB = re.compile(r"\bck:")
DESCRIPTION = re.compile(r"^Description=.*", re.MULTILINE)


def named(text: str, instance: str) -> str:
    """Return a name or a file of the kit's as it is for an instance: names of its own end in that of the instance.

    That is all in which the files of two apps differ.

    :param instance: nothing for the app without a name, whose files are those of the kit.
    """
    if not instance:
        return text
    text = OWN.sub(rf"\1-{instance}", text)
    text = SERVER.sub(rf"\1-server.service \1-server@{instance}.service", text)
    text = DESCRIPTION.sub(rf"\g<0>, of {instance}", text)
    # An entry of inittab has a name of four characters at most.
    return INITTAB.sub(f"c{hashlib.sha256(instance.encode()).hexdigest()[:3]}:", text)


def unit_of(pool: str, instance: str = "") -> str:
    """Return the unit of a pool."""
    return f"{named(UMBRELLA, instance)}@{pool}"


def phase_of(unit: str) -> str:
    """Return the phase that a unit belongs to."""
    return next((phase for name, phase in ((BEAT, "beat"), (FLOWER, "flower")) if unit.startswith(name)), "pools")


def units(readers: Sequence[str], instance: str) -> Iterator[dict[str, Any]]:
    """Yield all units of the kit, whichever are enabled: what is to stop needs its unit until it has.

    :param readers: the units that run.
    """
    delay = static("systemd/restart-delay.conf", instance)
    for name in UNITS:
        unit = named(name, instance)
        of_it = [reader for reader in readers if reader == unit or ("@" in reader and "@" in unit)]
        text = static(f"systemd/{name}.service", instance)
        yield _file("units", f"{SYSTEMD}/{unit}.service", text=text, units=of_it)
        if name != UMBRELLA:
            path = f"{SYSTEMD}/{unit}.service.d/restart-delay.conf"
            yield _file("units", path, text=delay, units=of_it, systemd=RISING_DELAY)
    folders = "tmpfiles.d/celery.conf"
    yield _file("units", f"/etc/{named(folders, instance)}", text=static(f"systemd/{folders}", instance))


def scripts(readers: Sequence[str], instance: str) -> Iterator[dict[str, Any]]:
    """Yield all scripts of the kit; celeryd is what the others call."""
    for name in (UMBRELLA, BEAT, FLOWER):
        script = named(name, instance)
        of_it = [unit for unit in readers if name == UMBRELLA or script == unit]
        text = static(f"init.d/{name}", instance)
        yield _file("units", f"/etc/init.d/{script}", text=text, mode="0755", units=of_it)


def programs(header: str, budgets: Mapping[str, int], others: Sequence[str], instance: str) -> Iterator[dict[str, Any]]:
    """Yield a program for each process that is to run, and the folders that it stands on.

    :param header: what begins each file that is generated.
    :param budgets: the seconds that a stop of each pool may take.
    :param others: which of ``beat`` and ``flower`` run.
    """
    for folder in ("/run/celery", "/var/lib/celery"):
        yield _file("units", named(folder, instance), mode="0775", group=named("celery", instance))
    yield _file("units", named("/var/log/celery", instance), mode="0755")
    header = header.replace("#", ";")
    yield _program("units", named("celery-folders", instance), header + static("supervisor/folders.conf", instance), [])
    for pool, budget in budgets.items():
        text = header + static("supervisor/worker.conf", instance)
        wait = f"stopwaitsecs={budget + MARGIN}"
        changes = {"@default": f"@{pool}", "worker default": f"worker {pool}", "stopwaitsecs=610": wait}
        for old, new in changes.items():
            text = text.replace(old, new)
        unit = unit_of(pool, instance)
        yield _program("pools", unit, text, [unit])
    for name in (BEAT, FLOWER):
        kind, unit = phase_of(name), named(name, instance)
        if kind in others:
            yield _program(kind, unit, header + static(f"supervisor/{kind}.conf", instance), [unit])


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


def static(name: str, instance: str = "") -> str:
    """Return a file of the kit's that is the same on every host, but for the name of an instance."""
    return named((HERE / name).read_text(encoding="utf-8"), instance)


def _program(phase: str, name: str, text: str, readers: list[str]) -> dict[str, Any]:
    return _file(phase, f"{PROGRAMS}/{name}.conf", text=text, units=readers)


def _file(phase: str, path: str, **entry: Any) -> dict[str, Any]:
    return {"phase": phase, "path": path, **entry}
