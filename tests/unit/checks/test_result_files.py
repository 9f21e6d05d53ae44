"""Result backends in files: the check names one that keeps no result."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celerykit.checks import result_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = 65534


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Be a user without rights, as a worker in a container is."""
    before = os.geteuid()
    if before != 0:
        yield
        return
    os.seteuid(NOBODY)
    yield
    os.seteuid(before)


def problems(backend: str) -> str:
    """Return the reasons why no result is kept, nothing if one is."""
    app = Celery("judged", set_as_current=False, backend=backend)
    return "\n".join(map(str, result_files.unwritable(app, "app.py")))


@pytest.mark.parametrize("backend", ["file://{}/none", "db+sqlite:///{}/none/results.db"])
def test_a_folder_that_is_not_there_is_named(backend: str, tmp_path: Path) -> None:
    """Neither Celery nor SQLite makes one, and the first job that is done would say so."""
    url = backend.format(tmp_path)
    assert problems(url) == (
        f"CELERY_RESULT_BACKEND={url} (app.py): no result is kept: there is no folder {tmp_path}/none. "
        f"{result_files.NEXT}."
    )


@pytest.mark.usefixtures("as_nobody")
@pytest.mark.parametrize("backend", ["file:///usr", "db+sqlite:////usr/results.db", "db+sqlite:////etc/passwd"])
def test_a_place_that_the_worker_may_not_write_is_named(backend: str) -> None:
    """As in an image, whose files belong to root."""
    assert " may not write /" in problems(backend)


@pytest.mark.parametrize("backend", ["db+sqlite://", "db+sqlite:///:memory:", "sqlite+pysqlite://"])
def test_a_database_in_memory_is_named(backend: str) -> None:
    """Each process has its own, so that the client that waits for a result reads another one."""
    assert "a database in memory is read by no other process" in problems(backend)


def test_what_can_be_written_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, a database that is there or is to be, and one below the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.db").touch()
    for backend in (f"file://{tmp_path}", f"db+sqlite:///{tmp_path}/new.db?timeout=5", "db+sqlite:///there.db"):
        assert problems(backend) == ""


@pytest.mark.parametrize("backend", ["redis://h/1", "db+postgresql+psycopg://u:p@h/x", "rpc://", ""])
def test_servers_are_no_files(backend: str) -> None:
    """Whether they answer is asked where a configuration is put in place."""
    assert problems(backend) == ""
