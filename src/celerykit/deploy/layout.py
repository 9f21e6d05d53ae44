"""The files that each service manager wants, to start, watch and stop the processes of a host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from celerykit.deploy.names import named, phase_of
from celerykit.instance import BEAT, FLOWER, UMBRELLA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celerykit.deploy.names import Names

SYSTEMD = "/etc/systemd/system"
PROGRAMS = "/etc/supervisor/conf.d"
UNITS = (UMBRELLA, "celeryd@", BEAT, FLOWER)
MARGIN = 10
"""Seconds beyond its own budget after which supervisor kills a worker."""
RISING_DELAY = 254
"""The release of systemd that knows what is in restart-delay.conf."""


class Layout:
    """The units, scripts or programs of one app."""

    def __init__(self, folder: str, names: Names):
        self._folder = Path(folder)
        self._names = names

    def units(self, readers: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield all units of the kit, whichever are enabled: a unit that is to stop needs its file until it has.

        :param readers: the units that run.
        """
        delay = self._text("systemd/restart-delay.conf")
        for name, text in self.unit_texts().items():
            unit = name.removesuffix(".service")
            of_it = [reader for reader in readers if reader == unit or ("@" in reader and "@" in unit)]
            yield _file("units", f"{SYSTEMD}/{name}", text=text, units=of_it)
            if unit != self._names.umbrella:
                path = f"{SYSTEMD}/{name}.d/restart-delay.conf"
                yield _file("units", path, text=delay, units=of_it, systemd=RISING_DELAY)
        folders = "tmpfiles.d/celery.conf"
        yield _file("units", self._named(f"/etc/{folders}"), text=self._text(f"systemd/{folders}"))

    def unit_texts(self) -> dict[str, str]:
        """Return the texts of all units of the kit, by the names of their files."""
        return {f"{self._named(name)}.service": self._text(f"systemd/{name}.service") for name in UNITS}

    def scripts(self, readers: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield all scripts of the kit; the others call celeryd."""
        for name in (UMBRELLA, BEAT, FLOWER):
            script = self._named(name)
            of_it = [unit for unit in readers if name == UMBRELLA or script == unit]
            yield _file("units", f"/etc/init.d/{script}", text=self._text(f"init.d/{name}"), mode="0755", units=of_it)

    def programs(self, header: str, budgets: Mapping[str, int], others: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield a program of supervisor for each process that is to run, and the folders that the processes share.

        :param header: begins each file that is generated.
        :param budgets: the seconds that a stop of each pool may take.
        :param others: which of ``beat`` and ``flower`` run.
        """
        header = header.replace("#", ";")
        for folder in ("/run/celery", "/var/lib/celery"):
            yield _file("units", self._named(folder), mode="0775", group=self._names.user)
        yield _file("units", self._named("/var/log/celery"), mode="0755")
        yield _program("units", self._named("celery-folders"), header + self._text("supervisor/folders.conf"), [])
        for pool, budget in budgets.items():
            unit = self._names.unit(pool)
            yield _program("pools", unit, header + self._worker(pool, budget), [unit])
        for name in (BEAT, FLOWER):
            kind, unit = phase_of(name), self._named(name)
            if kind in others:
                yield _program(kind, unit, header + self._text(f"supervisor/{kind}.conf"), [unit])

    def _worker(self, pool: str, budget: int) -> str:
        """Return the program of a pool."""
        text = self._text("supervisor/worker.conf")
        wait = f"stopwaitsecs={budget + MARGIN}"
        changes = {"@default": f"@{pool}", "worker default": f"worker {pool}", "stopwaitsecs=610": wait}
        for old, new in changes.items():
            text = text.replace(old, new)
        return text

    def _text(self, name: str) -> str:
        """Return a file of the kit, which differs between hosts in the name of an instance alone."""
        return self._named((self._folder / name).read_text(encoding="utf-8"))

    def _named(self, text: str) -> str:
        return named(text, self._names.instance)


def _program(phase: str, name: str, text: str, readers: list[str]) -> dict[str, Any]:
    return _file(phase, f"{PROGRAMS}/{name}.conf", text=text, units=readers)


def _file(phase: str, path: str, **entry: Any) -> dict[str, Any]:
    return {"phase": phase, "path": path, **entry}
