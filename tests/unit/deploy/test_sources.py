"""The app's files, wherever they come from."""

from __future__ import annotations

import os
import subprocess
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from celerykit.deploy import archive, sources


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a git repository with a tag, a branch, and a commit after the tag."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    for number, (name, ref) in enumerate([("one", "v1"), ("two", "main")]):
        (folder / "myapp.py").write_text(name)
        (folder / "run").write_text("#!/bin/sh\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", f"{number}")
        if ref != "main":
            git(folder, "tag", ref)
    return folder


def git(folder: Path, *arguments: str) -> str:
    """Run git for a repository of nobody's."""
    who = {f"GIT_{who}_{what}": "x@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, env={**os.environ, **who}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_folder_is_its_files_without_what_is_no_app(tmp_path: Path) -> None:
    """Virtualenvs, caches and histories stay where they are."""
    app = tmp_path / "app"
    for name in ("myapp/tasks.py", ".venv/bin/python", "__pycache__/x.pyc", ".git/config", ".mypy_cache/x"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text("")
    assert list(sources.read({"folder": str(app)}).content) == ["myapp/tasks.py"]


@pytest.mark.parametrize(("version", "holds"), [("v1", b"one"), ("main", b"two"), (None, b"two")])
def test_a_repository_is_its_files_at_a_version(repository: Path, version: str | None, holds: bytes) -> None:
    """A tag, a branch, or what the repository itself checks out."""
    found = sources.read({"git": str(repository), "version": version}).content
    assert found["myapp.py"] == holds


def test_a_branch_that_moved_is_followed(repository: Path) -> None:
    """The next deployment has the branch's new files."""
    source = {"git": str(repository), "version": "main"}
    sources.read(source)
    (repository / "myapp.py").write_text("three")
    git(repository, "commit", "--quiet", "--all", "--message", "3")
    assert sources.read(source).content["myapp.py"] == b"three"


def test_a_repository_s_links_and_programs_are_kept(repository: Path) -> None:
    """A module that is a link is there, and a script can be run."""
    (repository / "linked.py").symlink_to("myapp.py")
    (repository / "run").chmod(0o755)
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "links")
    found = sources.read({"git": str(repository)}).content
    assert found["linked.py"] == b"two"
    assert isinstance(found["run"], archive.Program)
    assert not isinstance(found["myapp.py"], archive.Program)


def test_several_hosts_fetch_at_once(repository: Path) -> None:
    """Each gets the version that it is to have, whatever the others fetch meanwhile."""

    def fetch(version: str) -> Any:
        return sources.read({"git": str(repository), "version": version}).content["myapp.py"]

    wanted = ["v1", "main"] * 6
    with ThreadPoolExecutor(len(wanted)) as hosts:
        assert list(hosts.map(fetch, wanted)) == [b"one", b"two"] * 6


def test_a_version_that_is_not_there_is_refused(repository: Path) -> None:
    """With what git says, and no password of the URL."""
    with pytest.raises(sources.SourceError, match=r"celery_app_source.git=.*version v9: .*v9"):
        sources.read({"git": str(repository), "version": "v9"})
    url = "https://user:hunter2@127.0.0.1:1/app.git"
    with pytest.raises(sources.SourceError) as refused:
        sources.read({"git": url})
    assert "hunter2" not in str(refused.value)


def test_a_wheel_is_a_requirement_on_the_file(tmp_path: Path) -> None:
    """Another file under the same name is another requirement, so that it is installed."""
    wheel = tmp_path / "myapp-1.0-py3-none-any.whl"
    wheel.write_text("one")
    first = sources.read({"wheel": str(wheel)}).content
    assert first["requirements.txt"].endswith(b"\n./myapp-1.0-py3-none-any.whl\n")
    wheel.write_text("two")
    assert sources.read({"wheel": str(wheel)}).content["requirements.txt"] != first["requirements.txt"]


def test_an_archive_depends_on_content_alone(tmp_path: Path) -> None:
    """Neither the time nor the place of the files matters, what they hold and who may run them does."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run").write_text("#!/bin/sh\n")
    os.utime(tmp_path / "a" / "run", (time.time(), 0))
    one, other = (archive.pack("app", archive.files(tmp_path / name, str.isupper)) for name in ("a", "b"))
    assert one == other
    (tmp_path / "b" / "run").chmod(0o755)
    executable = archive.pack("app", archive.files(tmp_path / "b", str.isupper))
    assert executable != one
    with zipfile.ZipFile(executable) as opened:
        assert opened.getinfo("run").external_attr >> 16 & 0o111


def test_the_cache_of_archives_does_not_grow(own_cache: Path) -> None:
    """The latest archives stay, for the hosts of one play, readable by nobody else."""
    for number in range(20):
        archive.pack("app", {"x": f"{number}".encode()})
    archives = list((own_cache / "celerykit").glob("app-*.zip"))
    assert len(archives) == archive.KEPT
    assert {path.stat().st_mode & 0o777 for path in archives} == {0o600}


def test_the_kit_s_archive_brings_what_it_installs() -> None:
    """Nothing that the host runs or builds from is missing in what is copied there."""
    content = archive.files(Path(__file__).parents[3] / "roles/celery/files/kit", lambda name: name == "__pycache__")
    names = {"__main__.py", "celerykit-app.pth", "tools.txt", "pyproject.toml", "uv.lock", "LICENSE"}
    assert names < set(content)
    assert {"src/celerykit/cli/parser.py", "src/celerykit/app/release.py"} < set(content)


def test_what_is_no_file_stops_nobody(tmp_path: Path) -> None:
    """A link to nothing and a pipe in the app's folder are left out, and said to be."""
    (tmp_path / "myapp.py").touch()
    (tmp_path / ".#myapp.py").symlink_to("nobody@nowhere")
    os.mkfifo(tmp_path / "tasks.fifo")
    source = {"folder": str(tmp_path)}
    assert list(sources.read(source).content) == ["myapp.py"]
    assert [note.split(": ")[0] for note in sources.read(source).left_out] == [".#myapp.py", "tasks.fifo"]
