"""What noise makes of a run of all tests, and what a fault does: real runs of pytest on a few tiny tests."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
SHARED = '''
import os, pathlib, time
import pytest

def first(name):
    """Say whether this is asked for the first time."""
    mark = pathlib.Path(__file__).with_name(f"{name}.mark")
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

@pytest.fixture
def noisy():
    print("the log of a container")
    assert not first("setup"), "the setup was disturbed"
'''
NOISE = """
@pytest.mark.xdist_group("machine")
@pytest.mark.parametrize("given", ["a [b] @c::d"])
def test_disturbed(given):
    assert not first("call"), "the call was disturbed"

def test_setup(noisy):
    pass

def test_well():
    pass
"""
CRASH = """
def test_crash():
    if first("crash"):
        os._exit(7)
"""
FAULTS = """
def test_fault():
    assert False, "a fault"

def test_kill():
    os._exit(7)

def test_skipped_then():
    if not first("skip"):
        pytest.skip("not this time")
    assert False, "a fault that is skipped"
"""
HANG = """
@pytest.mark.xdist_group("one")
def test_before():
    pass

@pytest.mark.xdist_group("one")
def test_hang():
    first("hang")
    time.sleep(600)
"""
WELL = """
def test_well():
    pass
"""
ONE_REASON = """
@pytest.fixture(scope="session")
def machine():
    assert not first("machine"), "it was not deployed"

@pytest.mark.xdist_group("machine")
@pytest.mark.parametrize("number", range(12))
def test_on_machine(number, machine):
    pass
"""
TWELVE_REASONS = """
@pytest.mark.parametrize("number", range(12))
def test_broken(number):
    assert False
"""


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The modules of the make targets, in a folder of a test's own."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("verdict")


@pytest.fixture
def judge(scripts: Any, tmp_path: Path) -> Callable[..., int]:
    """Run parts, each with tests of its own, and return the exit code of all."""
    parts = importlib.import_module("parts")

    def part(name: str, *tests: str) -> Any:
        folder = tmp_path / f"of_{name}"
        folder.mkdir()
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "test_it.py").write_text("".join((SHARED, *tests)))
        # Without the other plugins, whose import takes longer than these tests.
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        options = ("-q", "-p", "xdist", "-p", "no:cacheprovider", "-m", "not slow", "--rootdir", str(tmp_path))
        spread = ("--numprocesses", "2", "--dist", "loadgroup", str(folder))
        return parts.Part(name, str(Path(sys.executable).with_name("pytest")), options, spread, environment)

    def judge(seconds: float = 300.0, **tests: tuple[str, ...]) -> int:
        verdict = scripts.Verdict(seconds)
        for name, files in tests.items():
            verdict.run(part(name, *files))
        code: int = verdict.end()
        return code

    return judge


def test_noise_is_listed_and_the_run_is_green(
    judge: Callable[..., int], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What failed once, in setup or call or by a crash of its process, and passes by itself, is flaky."""
    assert judge(containers=(NOISE, CRASH)) == 0
    text = Path(".cache/flaky.txt").read_text()
    assert capfd.readouterr().out.endswith(f"{text}(kept in .cache/flaky.txt)\n")
    assert "flaky tests: 3" in text
    for name, said in (("disturbed[a [b] @c::d]", "the call was"), ("setup", "the setup was"), ("crash", "crashed")):
        told = text.partition(f"of_containers/test_it.py::test_{name}\n    20")[2].splitlines()
        assert said in told[0]
        assert said in Path(told[1].strip()).read_text()
    assert "the log of a container" in next(Path(".cache/tests/containers").glob("*test_setup.log")).read_text()


def test_what_fails_twice_is_red_and_the_next_part_runs(
    judge: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    """All failures are seen at once, and what is only flaky is listed beside them, last."""
    assert judge(containers=(NOISE, FAULTS), hosts=(ONE_REASON,)) == 1
    said = capfd.readouterr().out
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    twice = [set(line.removeprefix("error: failed twice: ").split(", ")) for line in errors]
    assert twice == [{f"of_containers/test_it.py::test_{name}" for name in ("fault", "kill", "skipped_then")}]
    text = Path(".cache/flaky.txt").read_text()
    assert "flaky tests: 14;" in text
    assert said.endswith(f"{text}(kept in .cache/flaky.txt)\n")


def test_nothing_is_run_again_where_nothing_failed(
    judge: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    """The list says none, and no run without tests is the last word."""
    assert judge(hosts=(WELL,)) == 0
    assert Path(".cache/flaky.txt").read_text() == "flaky tests: none\n"
    assert not list(Path(".cache/tests").glob("*again"))
    assert "1 passed" in capfd.readouterr().out


def test_many_failures_are_no_noise(judge: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    """They are not run again for an hour."""
    assert judge(hosts=(TWELVE_REASONS,)) == 1
    assert not Path(".cache/tests/hosts-again").exists()
    said = capfd.readouterr().out
    assert "12 tests failed. More than 10 are no noise" in said
    assert said.endswith("flaky tests: none\n(kept in .cache/flaky.txt)\n")


def test_a_part_that_hangs_is_ended_with_its_stacks(
    judge: Callable[..., int], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is red and says where it hangs; pytest says what came of the others, and the next part runs."""
    wait = subprocess.Popen.wait

    def time_is_over_in_the_test(process: Any, timeout: float | None = None) -> int:
        if "containers" in " ".join(process.args) and timeout == 1200:
            until((tmp_path / "of_containers" / "hang.mark").exists, 60, "a test that hangs")
            raise subprocess.TimeoutExpired(process.args, timeout)
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", time_is_over_in_the_test)
    assert judge(2000.0, containers=(HANG,), hosts=(WELL,)) == 1
    said = capfd.readouterr().out
    told = re.search(r"error: the tests of containers did not end within \d+ s: (.*)", said)
    assert told and re.fullmatch(r"1 passed, 0 had no turn, of_containers/test_it.py::test_hang ran for \d+ s", told[1])
    assert "in test_hang" in said
    assert said.count("1 passed") == 3


def test_tests_that_cannot_be_read_are_red(judge: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody knows how many are missing."""
    assert judge(containers=("import no_such_module\n",)) == 1
    assert "did not all run" in capfd.readouterr().out


def test_a_step_that_cannot_be_done_is_red(scripts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An image that cannot be built keeps its tests from running, and no others."""
    verdict, done = scripts.Verdict(300.0), []

    def build() -> None:
        raise scripts.SetupError("no image", "Look at the log")

    verdict.attempt(build)
    verdict.attempt(lambda: done.append("hosts"))
    assert (verdict.end(), done) == (1, ["hosts"])
    assert "error: no image\nremedy: Look at the log\n" in capsys.readouterr().out
