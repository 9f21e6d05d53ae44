"""The small file that says how a process is."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from celerykit import instance
from celerykit.health import statefile

if TYPE_CHECKING:
    from pathlib import Path


def state(pid: int | None = None, lasts: float = 60.0, *, ready: bool = True) -> statefile.State:
    """Return the state of this process, or of another."""
    return statefile.State(os.getpid() if pid is None else pid, time.monotonic() + lasts, ready, "consuming celery")


def ended() -> int:
    """Return the id of a process that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """A probe sees what the process said, and the folder is made where it is missing."""
    target = str(tmp_path / "run" / "worker-default.json")
    written = state(ready=False)
    statefile.write(target, written)
    read = statefile.read(target)
    assert read is not None
    assert [getattr(read, name) for name in statefile.State.__slots__] == [
        getattr(written, name) for name in statefile.State.__slots__
    ]
    assert os.listdir(tmp_path / "run") == ["worker-default.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "more": 2}'])
def test_a_file_that_says_nothing_is_no_state(tmp_path: Path, content: str) -> None:
    """A file of another version or a full disk makes a probe say no, not fail."""
    target = tmp_path / "beat.json"
    target.write_text(content)
    assert statefile.read(str(target)) is None


@pytest.mark.parametrize("question", ["live", "ready"])
def test_a_process_that_never_started_is_neither_live_nor_ready(tmp_path: Path, question: str) -> None:
    """The reason says that nothing is there."""
    assert statefile.judge(statefile.read(str(tmp_path / "none")), question) == (
        False,
        "no state file: not started yet, or ended",
    )


@pytest.mark.parametrize("question", ["live", "ready"])
def test_a_process_that_ended_is_neither_live_nor_ready(question: str) -> None:
    """A file left behind by a killed process convinces nobody."""
    pid = ended()
    assert statefile.judge(state(pid), question) == (False, f"process {pid} has ended")


@pytest.mark.parametrize("question", ["live", "ready"])
def test_an_expired_sign_of_life_means_stuck(question: str) -> None:
    """The reason says since when."""
    answer, reason = statefile.judge(state(lasts=-5.0), question)
    assert not answer
    assert reason == f"process {os.getpid()} is stuck: its last sign of life expired 5 s ago"


def test_a_process_in_an_outage_is_live_and_not_ready() -> None:
    """Live and ready are two questions: a broker outage restarts nothing."""
    waiting = state(ready=False)
    assert (statefile.judge(waiting, "live")[0], statefile.judge(waiting, "ready")[0]) == (True, False)
    assert statefile.judge(state(), "ready") == (True, "consuming celery")


def test_the_folder_is_as_told_else_the_unit_s_else_one_s_own(tmp_path: Path) -> None:
    """A probe and its process find the same folder from the same environment, also without any rights."""
    told = {"CELERYKIT_STATE_DIR": "/a", "RUNTIME_DIRECTORY": "/b:/c"}
    assert instance.state_folder(told) == "/a"
    assert instance.state_folder({"RUNTIME_DIRECTORY": "/b:/c"}) == "/b"
    private = f"{tmp_path}/celerykit-{os.getuid()}"
    assert instance.state_folder({"TMPDIR": str(tmp_path)}) in {private, instance.STATE_DIR}


def test_pools_and_beat_have_files_of_their_own() -> None:
    """Two pools on one host never answer for each other."""
    paths = {statefile.path("/run/celery", *which) for which in (("worker", "a"), ("worker", "b"), ("beat", ""))}
    assert paths == {"/run/celery/worker-a.json", "/run/celery/worker-b.json", "/run/celery/beat.json"}
