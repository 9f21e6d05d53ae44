"""The kind of an app's folder: the file that lists its requirements, and the tool of that file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celerykit.app import requirements
from celerykit.app.errors import AppError

if TYPE_CHECKING:
    from celerykit.app.folder import Folder

PIP, PROJECT, UV, POETRY, PIPENV = "pip", "project", "uv", "poetry", "pipenv"
PRODUCTION = ("requirements/production.txt", "requirements/prod.txt")
"""The files in which templates for Django list a server's requirements."""
MANIFESTS = (
    "requirements.txt",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "Pipfile",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    *PRODUCTION,
    "environment.yml",
    "environment.yaml",
)


@dataclass(frozen=True)
class Kind:
    """The tool and the files by which an app states its requirements."""

    tool: str
    manifest: str
    """The file that decides on the requirements."""
    inputs: frozenset[str]
    """All files that determine the installed packages."""
    is_package: bool = False
    """Whether the tool installs the folder itself, too."""
    is_locked: bool = False
    """Whether the app itself pins every version."""
    others: tuple[str, ...] = ()
    """Further files with requirements, which do not count."""


def find(folder: Folder) -> Kind | None:
    """Return the kind of an app's folder, None if it states no requirements.

    :raises AppError: if no tool here can read its requirements.
    """
    if folder.has("requirements.txt"):
        return _pip(folder, "requirements.txt")
    for manifest, make in (
        ("uv.lock", _uv),
        ("pdm.lock", _refused),
        ("Pipfile", _pipenv),
        ("pyproject.toml", _pyproject),
        ("setup.py", _setup),
        ("setup.cfg", _setup),
    ):
        if folder.has(manifest) and (kind := make(folder, manifest)):
            return kind
    return _elsewhere(folder)


def project_name(folder: Folder) -> str:
    """Return the name of the app's folder as a package, an empty string if it has none."""
    match = re.search(
        r"^name *= *[\"']?([\w.-]+)", folder.text("pyproject.toml") + folder.text("setup.cfg"), re.MULTILINE
    )
    return match[1] if match else ""


def _pip(folder: Folder, manifest: str) -> Kind:
    files = requirements.files(folder, manifest)
    inputs = {*files, *requirements.local(folder, files)} & folder.files.keys()
    pinned = requirements.names(folder, files)
    text = "".join(map(folder.text, files))
    locked = bool(pinned) and all(pinned.values()) and "--hash" in text
    return Kind(PIP, manifest, frozenset(inputs), is_locked=locked, others=_others(folder, {*files, "pyproject.toml"}))


def _uv(folder: Folder, manifest: str) -> Kind | None:
    if not folder.has("pyproject.toml"):
        return None
    local = re.search(r"^source = \{ (editable|directory|path) ", folder.text(manifest), re.MULTILINE)
    inputs = _inputs(folder, whole=bool(local) or _is_package(folder))
    return Kind(UV, manifest, inputs, is_locked=True, others=_others(folder, {manifest, "pyproject.toml"}))


def _refused(folder: Folder, manifest: str) -> Kind:
    raise AppError(
        f"{manifest}: no tool here can install from it. Keep an export of its own tool beside it: "
        "pdm export --prod --output requirements.txt"
    )


def _pipenv(folder: Folder, manifest: str) -> Kind:
    if not folder.has("Pipfile.lock"):
        raise AppError("Pipfile has no Pipfile.lock, without which pipenv deploys nothing. Make it: pipenv lock")
    inputs = _inputs(folder, whole=bool(re.search(r"\bpath *=", folder.text(manifest))))
    used = {"Pipfile", "Pipfile.lock", "pyproject.toml"}
    return Kind(PIPENV, "Pipfile.lock", inputs, is_locked=True, others=_others(folder, used))


def _pyproject(folder: Folder, manifest: str) -> Kind | None:
    text = folder.text(manifest)
    poetry = _has_table(text, "tool.poetry")
    if not (poetry or _has_table(text, "project") or _has_table(text, "build-system")):
        return None  # for linters alone
    if not (poetry or _has_table(text, "project")) and (folder.has("setup.py") or folder.has("setup.cfg")):
        return None
    package = _is_package(folder)
    whole = package or bool(re.search(r"^dynamic *=|\bpath *=|workspace *=", text, re.MULTILINE))
    locked = folder.has("poetry.lock") and poetry
    used = {manifest, *(["poetry.lock"] if locked else []), "setup.py", "setup.cfg"}
    return Kind(
        POETRY if locked or (poetry and not _has_table(text, "project") and not package) else PROJECT,
        "poetry.lock" if locked else manifest,
        _inputs(folder, whole=whole),
        package,
        locked,
        _others(folder, used),
    )


def _setup(folder: Folder, manifest: str) -> Kind | None:
    if manifest == "setup.cfg" and not re.search(r"^\[(metadata|options)\]", folder.text(manifest), re.MULTILINE):
        return None  # for linters alone
    used = {"setup.py", "setup.cfg", "pyproject.toml"}
    return Kind(PROJECT, manifest, _inputs(folder, whole=True), is_package=True, others=_others(folder, used))


def _elsewhere(folder: Folder) -> Kind | None:
    for name in PRODUCTION:
        if folder.has(name):
            return _pip(folder, name)
    if listed := [name for name in folder.below("requirements") if name.endswith((".txt", ".in"))]:
        raise AppError(
            f"{', '.join(listed)}: no file names the ones that a server needs. "
            f"Write a requirements.txt beside them with one line: -r {listed[0]}"
        )
    if foreign := [name for name in ("environment.yml", "environment.yaml") if folder.has(name)]:
        raise AppError(f"{foreign[0]}: conda is not here. Write its packages of PyPI into a requirements.txt")
    return None


def _inputs(folder: Folder, *, whole: bool) -> frozenset[str]:
    return frozenset(folder.files) if whole else frozenset(name for name in MANIFESTS if folder.has(name))


def _is_package(folder: Folder) -> bool:
    """Say whether uv, Poetry and pip would install the folder itself."""
    text = folder.text("pyproject.toml")
    off = re.search(r"^package(-mode)? *= *false", text, re.MULTILINE)
    on = re.search(r"^package *= *true", text, re.MULTILINE)
    return not off and bool(on or _has_table(text, "build-system"))


def _has_table(text: str, name: str) -> bool:
    return bool(re.search(rf"^ *\[+{re.escape(name)}[\].]", text, re.MULTILINE))


def _others(folder: Folder, used: set[str]) -> tuple[str, ...]:
    return tuple(name for name in MANIFESTS if folder.has(name) and name not in used)
