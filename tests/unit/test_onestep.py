"""Files that are written in one step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from celerykit import onestep

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Who has the old one open reads on in it, and nothing else is left in the folder."""
    target = tmp_path / "state"
    onestep.write(target, "old")
    with target.open(encoding="utf-8") as reader:
        onestep.write(target, "newer")
        assert reader.read() == "old"
    assert target.read_text(encoding="utf-8") == "newer"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_rights_are_there_before_anybody_may_read(tmp_path: Path) -> None:
    """A secret is open to its owner alone until its file has the rights that were asked for."""
    seen = []

    def rights(descriptor: int) -> None:
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        os.fchmod(descriptor, 0o640)

    onestep.write(tmp_path / "password", "a secret", rights=rights, sync=True)
    assert seen == [0o600]
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o640


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """As with rights that this user may not give."""
    target = tmp_path / "state"
    onestep.write(target, "old")

    def rights(descriptor: int) -> None:
        raise PermissionError(descriptor)

    with pytest.raises(PermissionError):
        onestep.write(target, "new", rights=rights)
    assert target.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    """Its number may be this process's: in a container, each is 1."""
    from _thread import get_ident

    left = tmp_path / f".state.{os.getpid()}.{get_ident()}"
    left.write_text("half", encoding="utf-8")
    onestep.write(tmp_path / "state", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
