"""An app's release: its code with the packages that it needs, never changed once it is there.

Running workers keep theirs until they are restarted, whatever happens to the source meanwhile.
``python -m celerykit.app release SOURCE ROOT`` makes ``ROOT/current`` the app in ``SOURCE``;
``python -m celerykit.app image SOURCE TARGET`` makes a folder of it that an image can have.
Hosts use :func:`stage`, which puts a release beside the current one and leaves that as it is.
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
    """Put the app in a folder beside the current release, under a name that the caller has for this content.

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
    """Say what of a folder is left out, and why."""
    for name, reason in folder.left_out.items():
        print(f"left out: {name}: {reason}")


def _build(folder: Folder, root: Path, release: Path) -> None:
    """Copy the code, link the requirements to it, and give it its name as the last step."""
    _keep_cache(root)
    draft = root / f".draft-{release.name}"
    _remove(draft)
    print(f"installing {release.name}", flush=True)
    needs = venv.ensure(folder, root, _remove)
    told = {*kinds.MANIFESTS, *requirements.files(folder, "requirements.txt"), *folder.below("requirements")}
    folders.copy(folder, draft, lambda name, content: _without_logins(content) if name in told else content)
    if needs:
        (draft / path.DEPS).symlink_to(Path("..", needs.name))
    compileall.compile_dir(draft, quiet=2, rx=re.compile(rf"/{re.escape(path.DEPS)}/"))
    draft.rename(release)


def _without_logins(content: bytes) -> bytes:
    """Return what a file says without the logins of package indexes, which no release needs."""
    return LOGIN.sub(rb"\1", content)


def _keep_cache(root: Path) -> None:
    """Have uv's cache beside what is made of it, which then takes no room of its own."""
    if not os.environ.get("UV_CACHE_DIR"):
        os.environ["UV_CACHE_DIR"] = str(root.resolve() / ".cache")


def _digest(folder: Folder) -> str:
    known = "".join(f"{name}=={version}\n" for name, version in sorted(pins.kit().items()))
    return hashlib.sha256(
        f"{sys.version}\n{known}{folder.folders}{folders.digest(folder, folder.files)}".encode()
    ).hexdigest()[:12]


def _point(link: Path, target: str) -> None:
    draft = link.with_name(".draft-current")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    if link.is_dir() and not link.is_symlink():
        link.rmdir()  # made by an engine that creates working directories before anything has run
    draft.replace(link)


def _prune(root: Path) -> None:
    """Remove all but the latest releases: a worker that was not restarted since may still run the one before."""
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
    """Remove a folder of this program's own, if it is there."""
    if folder.is_dir():
        for parent in (folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())):
            parent.chmod(parent.stat().st_mode | stat.S_IRWXU)
        shutil.rmtree(folder)
