"""The supported releases of Celery, Kombu and redis-py, and the missing features of the installed ones.

Other modules ask for a feature by its name in :mod:`celerykit.differences`.
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
    """The first untested release."""

    def __str__(self) -> str:
        return f"{_text(self.oldest)} or later, before {_text(self.next)}"


RANGES = {"celery": Range((5, 5), (5, 8)), "kombu": Range((5, 5), (5, 8)), "redis": Range((5, 2), (9,))}
"""The supported releases; redis-py matters where Redis is the broker."""
REFUSED_BY_KOMBU = ((5, 7), (6, 1))
"""The release of Kombu from which on it refuses an older redis-py than the second one."""


# The installed releases, and whether the kit supports them.


@cache
def version_of(package: str) -> Version:
    """Return a package's release, an empty tuple if it is not installed or has no version."""
    return parsed(_installed(package))


def parsed(version: str) -> Version:
    """Return a release as a tuple of numbers."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def lacks(difference: str) -> bool:
    """Say whether the installed releases lack a feature of :data:`DIFFERENCES`."""
    needed = DIFFERENCES[difference]
    return () < version_of(needed.package) < needed.since


def is_unknown(package: str) -> bool:
    """Say whether a package is newer than every tested release: its inner parts may differ."""
    return version_of(package) >= RANGES[package].next


def refusals() -> list[Finding]:
    """Return the finding for a release that is too old: of Celery, which requires Kombu itself, else of Kombu."""
    if find_spec("celery") is None:
        return [_finding("celery", "it cannot be imported", remedy("celery"))]
    old = [name for name in ("celery", "kombu") if () < version_of(name) < RANGES[name].oldest][:1]
    return [_finding(name, f"celerykit needs {RANGES[name]}", remedy(name)) for name in old]


def warnings() -> list[Finding]:
    """Return a finding for each package that is newer than every tested release."""
    problem = "celerykit was not tried with it, and leaves out the steps that depend on its inner parts"
    findings = [_finding(name, problem, remedy(name)) for name in ("celery", "kombu") if is_unknown(name)]
    if is_unknown("redis"):
        findings.append(_finding("redis", "celerykit was not tried with it", remedy("redis")))
    return findings


def require() -> list[Finding]:
    """Check the installed releases, and return the warnings.

    :raises ConfigurationError: if one is too old.
    """
    if refused := refusals():
        raise ConfigurationError(*refused)
    return warnings()


def is_refused_by_kombu(redis: Version, kombu: Version) -> bool:
    """Say whether this Kombu refuses this redis-py for a broker on Redis."""
    since, needed = REFUSED_BY_KOMBU
    return () < redis < needed and kombu >= since


def redis_refusals() -> Iterator[Finding]:
    """Yield a finding if the installed redis-py does not suit a broker on Redis."""
    there, (since, needed) = version_of("redis"), REFUSED_BY_KOMBU
    if not there:
        return
    if there < RANGES["redis"].oldest:
        yield _finding("redis", f"celerykit needs {RANGES['redis']}", remedy("redis"))
    elif is_refused_by_kombu(there, version_of("kombu")):
        problem = f"kombu {_installed('kombu')} refuses it, and needs {_text(needed)} or later"
        older = f", or kombu<{_text(since)} beside it" if version_of("celery") < (5, 7) else ""
        yield _finding("redis", problem, f"Require redis>={_text(needed)}{older}")


def describe(package: str) -> str:
    """Return a package's name and installed release, such as ``celery 5.6.3``."""
    return f"{package} {_installed(package)}"


def left_out() -> tuple[str, ...]:
    """Return the worker steps to leave out: they depend on inner parts of Celery, unknown in a newer release."""
    return ON_INNER_PARTS if is_unknown("celery") else ()


def shortcomings() -> str:
    """Return a line for a worker's log: the missing features that users can notice; an empty string if none is."""
    missing = [
        difference.lacks.replace("`", "")
        for name, difference in DIFFERENCES.items()
        if difference.shows and lacks(name)
    ]
    return f"{describe('celery')} with {describe('kombu')} lacks {', '.join(missing)}" if missing else ""


def _finding(package: str, problem: str, remedy: str) -> Finding:
    return Finding(package, _installed(package), f"installed in {sys.prefix}", problem, remedy)


def remedy(package: str) -> str:
    """Return the remedy for an unsupported release."""
    supported = RANGES[package]
    return f"Have the app's requirements say {package}>={_text(supported.oldest)},<{_text(supported.next)}"


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _text(version: Version) -> str:
    return ".".join(map(str, version))
