"""The versions that an app gets: by its own requirements, and by the kit's lock where those leave a choice."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from celerykit import releases
from celerykit.app import kinds, requirements, uv
from celerykit.app.errors import AppError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from celerykit.app.folder import Folder
    from celerykit.app.kinds import Kind

KIT = "celerykit"
EXPORTED = ".celerykit-exported.txt"
COMPILE = ("pip", "compile", "--quiet", "--no-header", "--annotation-style", "line")
POETRY = ("poetry", "poetry-plugin-export")
FROM_POETRY = (
    "from pathlib import Path; from poetry.core.factory import Factory; "
    "requires = Factory().create_poetry(Path()).package.requires; "
    "print(*(each.to_pep_508() for each in requires if not each.is_optional()), sep='\\n')"
)
SHOWN = 8


@dataclass(frozen=True)
class Pin:
    """A package in the version that the app gets."""

    name: str
    version: str
    """An empty string for a file, a folder or a repository."""
    asked_by: str


@dataclass(frozen=True)
class Pins:
    """All packages that an app gets, and the requirements file for uv."""

    manifest: str
    """A file of the folder that uv reads."""
    chosen: tuple[Pin, ...]

    @property
    def lines(self) -> list[str]:
        """The versions as lines of a requirements file."""
        return [f"{pin.name}=={pin.version}\n" for pin in self.chosen if pin.version]


def kit() -> dict[str, str]:
    """Return the versions in the kit's own environment, by package."""
    return {requirements.normal(each.name): each.version for each in metadata.distributions() if each.name != KIT}


def resolve(folder: Folder, kind: Kind, work: Path, before: Iterable[str]) -> Pins:
    """Choose a version of each package that the app requires.

    :param work: a writable copy of the folder.
    :param before: the pins of an earlier choice from equal requirements, which this choice keeps.
    :raises AppError: if no choice satisfies the requirements, or the kit does not run on it.
    """
    print(f"requirements: {kind.manifest}", flush=True)
    if kind.others:
        print(f"  {kind.manifest} decides; {', '.join(kind.others)} beside it {_are(kind.others)} left alone")
    manifest = _manifest(kind, work)
    preferred = [*_lines(kit()), *before]
    chosen = _chosen(_compile(work, preferred, manifest))
    if _has_refused_redis(chosen):
        chosen = chosen if kind.is_locked else _with_client(work, preferred, manifest, chosen)
        _tell_of_redis(chosen)
    _check(chosen)
    _tell(folder, kind, chosen)
    return Pins(manifest, chosen)


def kit_share(pins: Pins, work: Path) -> list[str]:
    """Return the kit's requirements that these versions do not satisfy, as lines of a requirements file.

    :raises AppError: if the kit cannot run beside them.
    """
    installed, app = kit(), {pin.name: pin.version for pin in pins.chosen}
    if all(installed.get(name, version) == version for name, version in app.items()):
        return []
    failure: AppError | None = None
    needs, extras = _needs(installed, app)
    for optional in (extras, extras[:-1] if "redis" not in app else [], []):
        wanted = work / ".celerykit-needs.txt"
        wanted.write_text("".join(f"{line}\n" for line in [*needs, *optional, *pins.lines]), encoding="utf-8")
        try:
            chosen = _chosen(_compile(work, [*_lines(installed), *pins.lines], wanted.name))
        except AppError as exc:
            failure = failure or exc
            continue
        if len(optional) < len(extras):
            lost = ", ".join(line for line in extras if line not in optional)
            print(f"  left out, for the app's versions do not go with it: {lost}")
        return [
            f"{pin.name}=={pin.version}\n"
            for pin in chosen
            if pin.name not in app and pin.version and installed.get(pin.name) != pin.version
        ]
    raise AppError(f"the app's versions leave no choice for celerykit's own requirements: {failure}")


def _needs(installed: dict[str, str], app: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the kit's requirements, and those of its installed optional parts."""
    needs = [str(line) for line in metadata.requires(KIT) or () if ";" not in line]
    extras = [name for name in ("flower", "gevent") if name in installed and name not in app]
    return needs, [*extras, *(["celery[redis]"] if "redis" in installed and "redis" not in app else [])]


def _manifest(kind: Kind, work: Path) -> str:
    """Return the name of a file for uv; another tool's lock file is exported by that tool."""
    exported = work / EXPORTED
    if kind.tool == kinds.UV:
        if not uv.has_mirror():
            uv.run(work, "lock", "--check", "--quiet", "--python", sys.executable)
        export = ("export", "--frozen", "--no-dev", "--no-editable", "--no-header", "--no-annotate", "--quiet")
        uv.run(work, *export, "--output-file", exported.name)
    elif kind.tool == kinds.POETRY and kind.is_locked:
        call = ("poetry", "export", "--no-interaction", "--output", exported.name)
        uv.tool(work, *call, packages=POETRY)
    elif kind.tool == kinds.POETRY:
        run = ("run", "--no-project", "--quiet", "--python", sys.executable, "--with", "poetry-core")
        exported.write_text(uv.run(work, *run, "python", "-c", FROM_POETRY), encoding="utf-8")
    elif kind.tool == kinds.PIPENV:
        exported.write_text(uv.tool(work, "pipenv", "requirements", "--hash", packages=("pipenv",)), encoding="utf-8")
    else:
        return kind.manifest
    return exported.name


def _compile(work: Path, preferred: list[str], *manifests: str) -> str:
    """Return uv's choice of versions; uv keeps the versions in ``preferred`` where it can."""
    chosen = work / ".celerykit-chosen.txt"
    chosen.write_text("".join(preferred), encoding="utf-8")
    uv.run(work, *COMPILE, "--python", sys.executable, "--output-file", chosen.name, *manifests)
    return chosen.read_text(encoding="utf-8")


def _has_refused_redis(chosen: tuple[Pin, ...]) -> bool:
    versions = {pin.name: releases.parsed(pin.version) for pin in chosen}
    return releases.is_refused_by_kombu(versions.get("redis", ()), versions.get("kombu", ()))


def _with_client(work: Path, preferred: list[str], manifest: str, chosen: tuple[Pin, ...]) -> tuple[Pin, ...]:
    """Choose again with Celery's own requirement of redis-py: an older Kombu accepts an older redis-py.

    :returns: the earlier choice, where the app's requirements leave no other.
    """
    client = work / ".celerykit-client.txt"
    client.write_text("celery[redis]\n", encoding="utf-8")
    try:
        return _chosen(_compile(work, preferred, manifest, client.name))
    except AppError:
        return chosen


def _tell_of_redis(chosen: tuple[Pin, ...]) -> None:
    """Print the chosen releases of Celery and Kombu with redis-py, or a warning if Kombu refuses it."""
    versions = {pin.name: pin.version for pin in chosen}
    together = " and ".join(f"{name} {versions[name]}" for name in ("celery", "kombu") if name in versions)
    if _has_refused_redis(chosen):
        print(
            f"  warning: {together} refuse redis {versions['redis']} for a broker on Redis, and the app leaves no other"
        )
    else:
        print(f"  {together}: newer ones refuse redis {versions['redis']}, which the app's requirements ask for")


def _chosen(text: str) -> tuple[Pin, ...]:
    pins = []
    for line in text.splitlines():
        requirement, _, source = line.partition("# via ")
        if match := re.match(r"([A-Za-z0-9][\w.-]*)(?:\[.*?\])?==(\S+)", requirement):
            pins.append(Pin(requirements.normal(match[1]), match[2], source.strip()))
        elif match := re.match(r"([A-Za-z0-9][\w.-]*) @ ", requirement):
            pins.append(Pin(requirements.normal(match[1]), "", source.strip()))
        elif requirement.strip() and not requirement.startswith(("#", " ")):
            pins.append(Pin(requirement.strip(), "", source.strip()))
    return tuple(pins)


def _check(chosen: tuple[Pin, ...]) -> None:
    """Refuse versions that the kit does not run on, before any download."""
    for pin in chosen:
        takes = releases.RANGES.get(pin.name) if pin.name in {"celery", "kombu"} else None
        if takes and pin.version and releases.parsed(pin.version) < takes.oldest:
            asked = pin.asked_by.replace(EXPORTED, "its lock")
            raise AppError(
                f"{pin.name}: the app asks for {pin.version} ({asked}), and celerykit takes {takes}. "
                f"{releases.remedy(pin.name)}"
            )


def _tell(folder: Folder, kind: Kind, chosen: tuple[Pin, ...]) -> None:
    """Print the packages without a pin, before the downloads begin."""
    if kind.is_locked or not chosen:
        return
    pinned: set[str] = set()
    if kind.tool == kinds.PIP:
        packages = requirements.names(folder, requirements.files(folder, kind.manifest))
        pinned = {name for name, is_pinned in packages.items() if is_pinned}
    free = [f"{pin.name} {pin.version}" for pin in chosen if pin.version and pin.name not in pinned]
    if free:
        more = f" and {len(free) - SHOWN} more" if len(free) > SHOWN else ""
        keep = {kinds.PIP: "pip freeze > requirements.txt", kinds.POETRY: "poetry lock"}.get(kind.tool, "uv lock")
        print(
            f"  not pinned by the app, so that another day may bring others: {', '.join(free[:SHOWN])}{more}. "
            f"To keep them: {keep}",
            flush=True,
        )


def _lines(versions: dict[str, str]) -> list[str]:
    return [f"{name}=={version}\n" for name, version in versions.items()]


def _are(names: tuple[str, ...]) -> str:
    return "is" if len(names) == 1 else "are"
