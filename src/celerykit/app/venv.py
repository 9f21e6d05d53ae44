"""The virtualenv of an app's requirements: made once for the same requirements, and never changed.

What the app does not ask for is the kit's, which lies behind it on the path.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import re
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from celerykit.app import folder as folders
from celerykit.app import kinds, path, pins, system, uv
from celerykit.app.errors import PYTHON, AppError

if TYPE_CHECKING:
    from collections.abc import Callable

    from celerykit.app.folder import Folder
    from celerykit.app.kinds import Kind
    from celerykit.app.pins import Pins

PINS = "celerykit-pins.txt"
"""What was chosen, under a line that names the requirements by their digest."""
OTHER_PYTHON = re.compile(r"incompatible with the project's Python requirement: (.*)")
"""What uv warns of as it makes a virtualenv for a project; other tools refuse such a Python."""
BEHIND = "~celerykit.pth"
"""After all others by its name: the kit's packages are the last."""


def ensure(folder: Folder, root: Path, remove: Callable[[Path], None]) -> Path | None:
    """Return the virtualenv of the app, made unless it is there; nothing if the app asks for nothing.

    :param root: where the virtualenvs are.
    :param remove: removes a folder, whatever its rights.
    :raises AppError: if it cannot be made.
    """
    system.check(folder)
    kind = kinds.find(folder)
    if kind is None:
        print("requirements: the app names none")
        return None
    venv = root / f"deps-{_digest(folder, kind.inputs)[:12]}"
    if not venv.exists():
        draft, work = root / f".draft-{venv.name}", root / f".draft-source-{venv.name}"
        remove(draft)
        remove(work)
        folders.copy(folder, work)
        _make(folder, kind, work, draft)
        remove(work)
        draft.rename(venv)
    return venv


def _make(folder: Folder, kind: Kind, work: Path, draft: Path) -> None:
    asked = _digest(folder, kind.inputs & {*kinds.MANIFESTS}) if kind.is_package else _digest(folder, kind.inputs)
    said = uv.run(work, "venv", "--relocatable", "--python", sys.executable, str(draft.resolve()))
    if kind.tool != kinds.PIP and (refused := OTHER_PYTHON.search(said)):
        raise AppError(f"{kind.manifest}: the app wants another Python: {refused[1]}", PYTHON)
    chosen = pins.resolve(folder, kind, work, _before(draft.parent, asked))
    share = pins.kit_share(chosen, work)
    _install(kind, chosen, work, draft)
    if share:
        wanted = work / ".celerykit-share.txt"
        wanted.write_text("".join(share), encoding="utf-8")
        uv.run(work, *_into(draft), "--no-deps", "--requirements", wanted.name)
    (draft / ".lock").unlink(missing_ok=True)  # uv's, and open to everybody
    (draft / PINS).write_text(f"# {asked}\n" + "".join([*chosen.lines, *share]), encoding="utf-8")
    behind = dict.fromkeys((path.OWN, sysconfig.get_path("purelib"), "import celerykit.app.path"))
    Path(path.packages(str(draft)), BEHIND).write_text("".join(f"{line}\n" for line in behind), encoding="utf-8")
    compileall.compile_dir(draft / "lib", quiet=2)


def _install(kind: Kind, chosen: Pins, work: Path, draft: Path) -> None:
    """Install what the app's tool would, in the versions that were chosen."""
    version = _version_of_tags(work)
    if kind.tool == kinds.UV and not uv.has_mirror():
        # The lock file names the place of each file, too; another place is asked by way of an export.
        sync = ("sync", "--frozen", "--no-dev", "--no-editable", "--python", sys.executable)
        uv.run(work, *sync, environment={**version, "UV_PROJECT_ENVIRONMENT": str(draft.resolve())})
        return
    constraints = work / ".celerykit-constraints.txt"
    constraints.write_text("".join(chosen.lines), encoding="utf-8")
    into = (*_into(draft), "--no-editable", "--constraints", constraints.name)
    uv.run(work, *into, "--requirements", chosen.manifest, environment=version)
    if kind.is_package:
        uv.run(work, *_into(draft), "--no-deps", ".", environment=version)


def _into(venv: Path) -> tuple[str, ...]:
    return ("pip", "install", "--python", str(venv.resolve()))


def _version_of_tags(work: Path) -> dict[str, str]:
    """Return a version for a package that takes its own from git, whose history is not here."""
    text = (work / "pyproject.toml").read_text(encoding="utf-8") if (work / "pyproject.toml").exists() else ""
    if not re.search(r"setuptools[_-]scm|hatch-vcs|versioningit", text):
        return {}
    name = re.sub(r"[-_.]+", "_", kinds.project_name(folders.read(work))).upper()
    variable = f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{name}"
    print(f"  the app's own version is of git, which is not here: it is 0. To set it: {variable}")
    return {variable: os.environ.get(variable) or "0"}


def _digest(folder: Folder, names: frozenset[str]) -> str:
    known = "".join(f"{name}=={version}\n" for name, version in sorted(pins.kit().items()))
    told = f"{sys.version}\n{path.OWN}\n{known}{folders.digest(folder, names & folder.files.keys())}"
    return hashlib.sha256(told.encode()).hexdigest()


def _before(root: Path, asked: str) -> list[str]:
    """Return what was chosen for the same requirements before, when other files of the app were others."""
    for file in sorted(root.glob(f"deps-*/{PINS}"), key=lambda path: path.stat().st_mtime, reverse=True):
        first, *lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        if first == f"# {asked}\n":
            return lines
    return []
