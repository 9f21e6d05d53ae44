"""Releases of an app, with a uv that is played."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.role.conftest import ROOT, load

if TYPE_CHECKING:
    from pathlib import Path

install = load(ROOT / "images" / "app" / "install.py")


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
    install.make_release(app, root)
    before = os.readlink(root / "current")
    (app / "myapp.py").write_text("new = True")
    install.stage(app, root, "release-new")
    assert os.readlink(root / "current") == before
    assert (root / "release-new" / "myapp.py").read_text() == "new = True"
    assert (root / "release-new" / ".deps").is_dir()


def test_a_staged_release_is_not_made_twice(app: Path, root: Path) -> None:
    """What workers may run already is never changed."""
    install.stage(app, root, "release-a")
    before = (root / "release-a" / "myapp.py").stat().st_mtime_ns
    (app / "myapp.py").write_text("changed")
    install.stage(app, root, "release-a")
    assert (root / "release-a" / "myapp.py").stat().st_mtime_ns == before


def test_old_releases_go_and_the_current_one_never(app: Path, root: Path) -> None:
    """Deployments that failed their check do not push out what runs."""
    install.make_release(app, root)
    current = os.readlink(root / "current")
    for number in range(6):
        install.stage(app, root, f"release-{number}")
    assert releases(root) == {current, "release-3", "release-4", "release-5"}


def test_a_source_that_nobody_may_write_to_makes_a_release(app: Path, root: Path) -> None:
    """It is copied and compiled in the end, and gone like any other, even if a start before was cut short."""
    (app / "parts").mkdir()
    (app / "parts" / "part.py").write_text("")
    for folder in (app / "parts", app):
        folder.chmod(0o555)
    shutil.copytree(app, root / f".draft-release-{install._digest(app)}")
    install.make_release(app, root)
    current = root / "current"
    closed = [path for path in [current, *current.rglob("*")] if path.is_dir() and not path.stat().st_mode & 0o200]
    assert not closed  # of root, the mode alone tells
    assert list((current / "parts" / "__pycache__").glob("part.*.pyc"))
    for number in range(4):
        install.stage(app, root, f"release-{number}")
    assert "release-0" not in releases(root) and not list(root.glob(".draft-*"))


def test_requirements_that_cannot_be_had_leave_no_release(
    app: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a container the remedy names the container's variable; on a host, whoever stages has a word of its own."""
    (app / "requirements.txt").write_text("nothing-like-this\n")
    monkeypatch.setattr(install.subprocess, "run", lambda *_, **__: type("Done", (), {"returncode": 1}))
    with pytest.raises(install.InstallError) as refused:
        install.stage(app, root, "release-a")
    assert "CELERYKIT_CA_BUNDLE" not in str(refused.value)
    assert releases(root) == set()
    assert install.main("release", str(app), str(root)) == 1
    assert "CELERYKIT_CA_BUNDLE" in capsys.readouterr().err


def test_a_wheel_beside_its_manifest_is_taken(app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for where it lies, with its hash, beside what it needs and the kit does not have."""
    (app / "requirements.txt").write_text("./myapp-1.0-py3-none-any.whl\n")
    lines = "celery==5.7.0 \\\n    --hash=a\n./myapp-1.0-py3-none-any.whl \\\n    --hash=b\nother==1 \\\n    --hash=c\n"

    def resolve(folder: Path, *arguments: str) -> None:
        assert folder == app
        (tmp_path / "resolved.txt").write_text(lines)

    monkeypatch.setattr(install, "_uv", resolve)
    taken = "".join(install._missing(app, tmp_path))
    assert taken == lines.partition("--hash=a\n")[2]


@pytest.mark.parametrize(("uid", "owner", "taken"), [(1000, 1000, True), (0, 0, True), (0, 1000, False)])
def test_root_takes_no_packages_from_others(
    app: Path, monkeypatch: pytest.MonkeyPatch, uid: int, owner: int, taken: bool
) -> None:
    """Whoever calls `celerykit status` as root in a folder of somebody else's runs none of their code."""
    added: list[str] = []
    (app / ".deps").mkdir()
    monkeypatch.chdir(app)
    monkeypatch.setattr("os.getuid", lambda: uid)
    monkeypatch.setattr("os.lstat", lambda _: type("Found", (), {"st_uid": owner}))
    monkeypatch.setattr("site.addsitedir", added.append)
    exec((ROOT / "images" / "app" / "celerykit-app.pth").read_text(), {})  # noqa: S102  # as site does
    assert added == ([str(app / ".deps")] if taken else [])


def test_the_kit_s_archive_brings_what_it_installs(scripts: dict[str, Any]) -> None:
    """Nothing that the host runs or builds from is missing in what is copied there."""
    content = scripts["pack"].files(ROOT / "roles/celery/files/kit", scripts["sources"].is_left_out)
    names = {"__main__.py", "install.py", "celerykit-app.pth", "tools.txt", "pyproject.toml", "uv.lock", "LICENSE"}
    assert names < set(content)
    assert "src/celerykit/cli.py" in content
