"""The releases of Celery, Kombu and redis-py that the kit runs on, and what those that are installed lack.

The rest of the code asks by the names of :mod:`celerykit.differences`.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from celerykit.differences import DIFFERENCES, ON_INNER_PARTS, Version
from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Range:
    """The releases of a package that the kit has been tried with."""

    oldest: Version
    next: Version
    """The first release that nobody has tried."""

    def __str__(self) -> str:
        return f"{_told(self.oldest)} or later, before {_told(self.next)}"


RANGES = {"celery": Range((5, 5), (5, 8)), "kombu": Range((5, 5), (5, 8)), "redis": Range((5, 2), (9,))}
"""Which releases the kit is for; redis-py matters where Redis is the broker."""
REFUSED_BY_KOMBU = ((5, 7), (6, 1))
"""The release of Kombu from which on it refuses an older redis-py than the second one."""


# Which releases there are, and whether they will do.


@cache
def version_of(package: str) -> Version:
    """Return a package's release, nothing if it is not installed or does not say."""
    return parsed(_installed(package))


def parsed(version: str) -> Version:
    """Return a release as numbers that compare."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def lacks(difference: str) -> bool:
    """Say whether the installed releases lack something of :data:`DIFFERENCES`."""
    told = DIFFERENCES[difference]
    return () < version_of(told.package) < told.since


def is_unknown(package: str) -> bool:
    """Say whether a package is newer than what the kit was tried with: its inner parts may be others."""
    return version_of(package) >= RANGES[package].next


def refusals() -> list[Finding]:
    """Return what is too old to run on: Celery, whose requirement brings Kombu with it, or Kombu."""
    if find_spec("celery") is None:
        return [_finding("celery", "it cannot be imported", remedy("celery"))]
    old = [name for name in ("celery", "kombu") if () < version_of(name) < RANGES[name].oldest][:1]
    return [_finding(name, f"celerykit needs {RANGES[name]}", remedy(name)) for name in old]


def warnings() -> list[Finding]:
    """Return what is newer than anything that was tried."""
    problem = "celerykit was not tried with it, and leaves out what rests on its inner parts"
    found = [_finding(name, problem, remedy(name)) for name in ("celery", "kombu") if is_unknown(name)]
    return [*found, *([_finding("redis", "celerykit was not tried with it", remedy("redis"))] * is_unknown("redis"))]


def require() -> list[Finding]:
    """Check what is installed, and return what is only to be warned of.

    :raises ConfigurationError: if it is too old.
    """
    if refused := refusals():
        raise ConfigurationError(*refused)
    return warnings()


def is_refused_by_kombu(redis: Version, kombu: Version) -> bool:
    """Say whether this Kombu does not take this redis-py for a broker on Redis."""
    since, needed = REFUSED_BY_KOMBU
    return () < redis < needed and kombu >= since


def redis_refusals() -> Iterator[Finding]:
    """Yield why the installed redis-py will not do for a broker on Redis."""
    there, (since, needed) = version_of("redis"), REFUSED_BY_KOMBU
    if not there:
        return
    if there < RANGES["redis"].oldest:
        yield _finding("redis", f"celerykit needs {RANGES['redis']}", remedy("redis"))
    elif is_refused_by_kombu(there, version_of("kombu")):
        problem = f"kombu {_installed('kombu')} refuses it, and needs {_told(needed)} or later"
        older = f", or kombu<{_told(since)} beside it" if version_of("celery") < (5, 7) else ""
        yield _finding("redis", problem, f"Require redis>={_told(needed)}{older}")


def told(package: str) -> str:
    """Return a package's name and release, for people."""
    return f"{package} {_installed(package)}"


def left_out() -> tuple[str, ...]:
    """Return the steps of a worker that are left out, for they rest on inner parts that nobody has seen."""
    return ON_INNER_PARTS if is_unknown("celery") else ()


def shortcomings() -> str:
    """Return what the installed releases lack that whoever sends or runs jobs can notice, nothing if that is nothing.

    In one line, for a worker's log.
    """
    missing = [
        difference.lacks.replace("`", "")
        for name, difference in DIFFERENCES.items()
        if difference.shows and lacks(name)
    ]
    return f"{told('celery')} with {told('kombu')} lacks {', '.join(missing)}" if missing else ""


def _finding(package: str, problem: str, remedy: str) -> Finding:
    return Finding(package, _installed(package), f"installed in {sys.prefix}", problem, remedy)


def remedy(package: str) -> str:
    """Return what to do about a release that will not do."""
    told = RANGES[package]
    return f"Have the app's requirements say {package}>={_told(told.oldest)},<{_told(told.next)}"


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _told(version: Version) -> str:
    return ".".join(map(str, version))
