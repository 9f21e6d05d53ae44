"""Releases of an app: what is there, what is current, and what goes."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from celerykit.app import folder as folders
from celerykit.app import path, release

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return an app without requirements."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "myapp.py").write_text("")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return where the releases go."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def releases(root: Path) -> set[str]:
    """Return the releases that are there."""
    return {path.name for path in root.glob("release-*")}


def test_a_staged_release_is_beside_the_current_one(app: Path, root: Path) -> None:
    """Workers and their next start keep the release that they have until all of it is in place and checked."""
    release.make(app, root)
    before = os.readlink(root / "current")
    (app / "myapp.py").write_text("new = True")
    release.stage(app, root, "release-new")
    assert os.readlink(root / "current") == before
    assert (root / "release-new" / "myapp.py").read_text() == "new = True"


def test_a_staged_release_is_not_made_twice(app: Path, root: Path) -> None:
    """What workers may run already is never changed."""
    release.stage(app, root, "release-a")
    before = (root / "release-a" / "myapp.py").stat().st_mtime_ns
    (app / "myapp.py").write_text("changed")
    release.stage(app, root, "release-a")
    assert (root / "release-a" / "myapp.py").stat().st_mtime_ns == before


def test_old_releases_go_and_the_current_one_never(app: Path, root: Path) -> None:
    """Deployments that failed their check do not push out what runs."""
    release.make(app, root)
    current = os.readlink(root / "current")
    for number in range(6):
        release.stage(app, root, f"release-{number}")
    assert releases(root) == {current, "release-3", "release-4", "release-5"}


def test_a_source_that_nobody_may_write_to_makes_a_release(app: Path, root: Path) -> None:
    """It is copied and compiled in the end, and gone like any other, even if a start before was cut short."""
    (app / "parts").mkdir()
    (app / "parts" / "part.py").write_text("")
    for folder in (app / "parts", app):
        folder.chmod(0o555)
    shutil.copytree(app, root / f".draft-release-{release._digest(folders.read(app))}")
    release.make(app, root)
    current = root / "current"
    closed = [path for path in [current, *current.rglob("*")] if path.is_dir() and not path.stat().st_mode & 0o200]
    assert not closed  # of root, the mode alone tells
    assert list((current / "parts" / "__pycache__").glob("part.*.pyc"))
    for number in range(4):
        release.stage(app, root, f"release-{number}")
    assert "release-0" not in releases(root) and not list(root.glob(".draft-*"))


@pytest.mark.parametrize(("uid", "owner", "taken"), [(1000, 1000, True), (0, 0, True), (0, 1000, False)])
def test_root_takes_no_packages_from_others(
    app: Path, monkeypatch: pytest.MonkeyPatch, uid: int, owner: int, taken: bool
) -> None:
    """Whoever calls `celerykit status` as root in a folder of somebody else's runs none of their code."""
    (app / "src").mkdir()
    (app / ".deps" / "bin").mkdir(parents=True)
    monkeypatch.chdir(app)
    monkeypatch.setattr("os.getuid", lambda: uid)
    monkeypatch.setattr("os.lstat", lambda _: type("Found", (), {"st_uid": owner}))
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setenv("PATH", "/bin")
    path.extend()
    assert (str(app / "src") in sys.path, os.environ["PATH"] != "/bin") == (taken, taken)
