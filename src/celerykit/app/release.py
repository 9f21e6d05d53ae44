"""An app's release: its code with its packages, never changed once it exists.

A running worker keeps its release until it is restarted; changes of the source do not reach it.
``python -m celerykit.app release SOURCE ROOT`` makes ``ROOT/current`` the app in ``SOURCE``;
``python -m celerykit.app image SOURCE TARGET`` makes a folder of it for an image.
Hosts use :func:`stage`: it puts a release beside the current one, and leaves the current one in place.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from celerykit.app import folder as folders
from celerykit.app import kinds, path, pins, requirements, venv

if TYPE_CHECKING:
    from celerykit.app.folder import Folder

KEPT_RELEASES = 3
LOGIN = re.compile(rb"(https?://)[^@/\s'\"]+@")


def make(source: Path, root: Path) -> None:
    """Make the app in a folder the current release, unless it is.

    :raises AppError: if it cannot be installed.
    """
    folder = folders.read(source)
    tell(folder)
    root.mkdir(parents=True, exist_ok=True)
    release = root / f"release-{_digest(folder)}"
    if not release.exists():
        _build(folder, root, release)
    current = root / "current"
    if not current.is_symlink() or current.readlink() != Path(release.name):
        _point(current, release.name)
        print(f"{release.name} is current. Workers that run already take it up by: docker compose restart worker beat")
    else:
        print(f"{release.name} is current already")
    _prune(root)


def stage(source: Path, root: Path, name: str) -> None:
    """Install the app in a folder beside the current release, under the caller's name for its content.

    :raises AppError: if it cannot be installed.
    """
    if not (root / name).exists():
        _build(folders.read(source), root, root / name)
    _prune(root)


def make_image(source: Path, target: Path) -> None:
    """Make a folder with the app and its packages, for an image.

    :raises AppError: if it cannot be installed.
    """
    target.mkdir(parents=True, exist_ok=True)
    _keep_cache(target)
    folder = folders.read(source)
    tell(folder)
    _build(folder, target, target / "release")
    made = (target / "release" / path.DEPS).resolve()
    if made.is_dir():
        (target / "release" / path.DEPS).unlink()
        made.rename(target / "release" / path.DEPS)
    _remove(target / ".cache")


def tell(folder: Folder) -> None:
    """Print each file that is left out of a folder, with the reason."""
    for name, reason in folder.left_out.items():
        print(f"left out: {name}: {reason}")


def _build(folder: Folder, root: Path, release: Path) -> None:
    """Copy the code, link its virtualenv, and rename the draft to the release as the last step."""
    _keep_cache(root)
    draft = root / f".draft-{release.name}"
    _remove(draft)
    print(f"installing {release.name}", flush=True)
    needs = venv.ensure(folder, root, _remove)
    manifests = {*kinds.MANIFESTS, *requirements.files(folder, "requirements.txt"), *folder.below("requirements")}
    folders.copy(folder, draft, lambda name, content: _without_logins(content) if name in manifests else content)
    if needs:
        (draft / path.DEPS).symlink_to(Path("..", needs.name))
    compileall.compile_dir(draft, quiet=2, rx=re.compile(rf"/{re.escape(path.DEPS)}/"))
    draft.rename(release)


def _without_logins(content: bytes) -> bytes:
    """Return a file's content without the logins of package indexes; no release needs them."""
    return LOGIN.sub(rb"\1", content)


def _keep_cache(root: Path) -> None:
    """Keep uv's cache on the volume of the virtualenvs: then uv links its files there, and they take no more room."""
    if not os.environ.get("UV_CACHE_DIR"):
        os.environ["UV_CACHE_DIR"] = str(root.resolve() / ".cache")


def _digest(folder: Folder) -> str:
    versions = "".join(f"{name}=={version}\n" for name, version in sorted(pins.kit().items()))
    return hashlib.sha256(
        f"{sys.version}\n{versions}{folder.folders}{folders.digest(folder, folder.files)}".encode()
    ).hexdigest()[:12]


def _point(link: Path, target: str) -> None:
    draft = link.with_name(".draft-current")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    if link.is_dir() and not link.is_symlink():
        link.rmdir()  # a container engine creates missing working directories at its start
    draft.replace(link)


def _prune(root: Path) -> None:
    """Remove all but the latest releases: a worker that was not restarted may still run an earlier one."""
    current = (root / "current").resolve()
    for draft in root.glob(".draft-*"):
        _remove(draft)
    releases = sorted(root.glob("release-*"), key=lambda path: path.stat().st_ctime, reverse=True)
    for release in releases[KEPT_RELEASES:]:
        if release != current:
            _remove(release)
    used = {(release / path.DEPS).resolve() for release in root.glob("release-*")}
    for folder in root.glob("deps-*"):
        if folder.resolve() not in used:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder of the kit's, if it exists."""
    if folder.is_dir():
        for parent in (folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())):
            parent.chmod(parent.stat().st_mode | stat.S_IRWXU)
        shutil.rmtree(folder)
