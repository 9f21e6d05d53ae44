"""The virtualenv of an app's requirements: made once for each set of requirements, and never changed.

The kit's own packages come after it on Python's path.
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
"""The file of the chosen versions, under a line with the digest of the requirements."""
OTHER_PYTHON = re.compile(r"incompatible with the project's Python requirement: (.*)")
"""uv's warning about a project for another Python; other tools refuse that Python."""
BEHIND = "~celerykit.pth"
"""A ``.pth`` file whose name sorts last, so that the kit's packages are last on the path."""


def ensure(folder: Folder, root: Path, remove: Callable[[Path], None]) -> Path | None:
    """Return the virtualenv of the app, made unless it exists; None if the app has no requirements.

    :param root: the folder of the virtualenvs.
    :param remove: removes a folder, even a read-only one.
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
    digest = _digest(folder, kind.inputs & {*kinds.MANIFESTS}) if kind.is_package else _digest(folder, kind.inputs)
    output = uv.run(work, "venv", "--relocatable", "--python", sys.executable, str(draft.resolve()))
    if kind.tool != kinds.PIP and (refused := OTHER_PYTHON.search(output)):
        raise AppError(f"{kind.manifest}: the app wants another Python: {refused[1]}", PYTHON)
    chosen = pins.resolve(folder, kind, work, _before(draft.parent, digest))
    share = pins.kit_share(chosen, work)
    _install(kind, chosen, work, draft)
    if share:
        wanted = work / ".celerykit-share.txt"
        wanted.write_text("".join(share), encoding="utf-8")
        uv.run(work, *_into(draft), "--no-deps", "--requirements", wanted.name)
    (draft / ".lock").unlink(missing_ok=True)  # uv's, and open to everybody
    (draft / PINS).write_text(f"# {digest}\n" + "".join([*chosen.lines, *share]), encoding="utf-8")
    behind = dict.fromkeys((path.OWN, sysconfig.get_path("purelib"), "import celerykit.app.path"))
    Path(path.packages(str(draft)), BEHIND).write_text("".join(f"{line}\n" for line in behind), encoding="utf-8")
    compileall.compile_dir(draft / "lib", quiet=2)


def _install(kind: Kind, chosen: Pins, work: Path, draft: Path) -> None:
    """Install the packages that the app's tool would, in the chosen versions."""
    version = _version_of_tags(work)
    if kind.tool == kinds.UV and not uv.has_mirror():
        # The lock file also names the index of each file; an export leaves the choice of the index to the environment.
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
    """Return a version for a package that reads its version from git: the history is not in the folder."""
    text = (work / "pyproject.toml").read_text(encoding="utf-8") if (work / "pyproject.toml").exists() else ""
    if not re.search(r"setuptools[_-]scm|hatch-vcs|versioningit", text):
        return {}
    name = re.sub(r"[-_.]+", "_", kinds.project_name(folders.read(work))).upper()
    variable = f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{name}"
    print(f"  the app's own version is of git, which is not here: it is 0. To set it: {variable}")
    return {variable: os.environ.get(variable) or "0"}


def _digest(folder: Folder, names: frozenset[str]) -> str:
    versions = "".join(f"{name}=={version}\n" for name, version in sorted(pins.kit().items()))
    content = f"{sys.version}\n{path.OWN}\n{versions}{folders.digest(folder, names & folder.files.keys())}"
    return hashlib.sha256(content.encode()).hexdigest()


def _before(root: Path, digest: str) -> list[str]:
    """Return the pins of the latest virtualenv with equal requirements, none if there is none."""
    for file in sorted(root.glob(f"deps-*/{PINS}"), key=lambda path: path.stat().st_mtime, reverse=True):
        first, *lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        if first == f"# {digest}\n":
            return lines
    return []
