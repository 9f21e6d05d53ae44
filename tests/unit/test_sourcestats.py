"""The example app counts what is there, whatever a file holds."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "sourcestats"


@pytest.fixture(autouse=True)
def _example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))


@pytest.fixture
def counting() -> Any:
    """Return the module that counts."""
    return importlib.import_module("sourcestats.counting")


@pytest.fixture
def folders() -> Any:
    """Return the module that finds files."""
    return importlib.import_module("sourcestats.folders")


def written(folder: Path, content: bytes, name: str = "file.py") -> str:
    """Return the path of a file with ``content``."""
    path = folder / name
    path.write_bytes(content)
    return str(path)


def test_size_lines_and_hash(counting: Any, tmp_path: Path) -> None:
    """A file's size, lines and SHA-256 are those of its bytes."""
    content = b"one\ntwo\n"
    file = counting.measure(written(tmp_path, content, "file.txt"))
    assert (file.size, file.lines, file.sha256) == (8, 2, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(("content", "lines"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"\n\n", 2)])
def test_last_line_without_newline(counting: Any, tmp_path: Path, content: bytes, lines: int) -> None:
    """A last line counts with a newline and without."""
    assert counting.measure(written(tmp_path, content)).lines == lines


def test_large_file(counting: Any, tmp_path: Path) -> None:
    """A file of many blocks counts as a whole, and one too large to take apart has no comment count."""
    content = b"# x\n" * 1_000_000
    file = counting.measure(written(tmp_path, content))
    assert (file.lines, file.comment_lines) == (1_000_000, None)
    assert file.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("source", "comment_lines"),
    [
        (b"x = 1\n", 0),
        (b"# one\nx = 1  # two\n", 2),
        (b"x = '# no comment'\n", 0),
        (b"x = '''\n# no comment\n'''\n", 0),
        (b'"""Two\nlines."""\nx = 1\n', 2),
        (b'def f():\n    """One."""\n    # two\n    return 1\n', 2),
        (b'"""Both."""  # on one line\n', 1),
        (b"# coding: latin-1\n# \xe9\n", 2),
        ("# é\n".encode(), 1),
        (b"", 0),
    ],
)
def test_comments(counting: Any, source: bytes, comment_lines: int) -> None:
    """Lines with a comment or of a docstring count once; strings that look like comments do not."""
    assert counting.count_comments(source) == comment_lines


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(b"def f(:\n    '''", id="unfinished string"),
        pytest.param(b"if x:\n        a\n    b\n", id="indentation"),
        pytest.param(b"# coding: nonesuch\n", id="unknown encoding"),
        pytest.param(b"x = '\xff'\n", id="not utf-8"),
        pytest.param(b"x = 1\0\n", id="zero byte"),
        pytest.param("# x\n".encode("utf-16"), id="utf-16"),
        pytest.param(b"(" * 1000, id="deep"),
    ],
)
def test_not_python(counting: Any, tmp_path: Path, source: bytes) -> None:
    """A file that Python cannot read is measured all the same, without a comment count."""
    file = counting.measure(written(tmp_path, source))
    assert (file.size, file.comment_lines, file.error) == (len(source), None, "")


def test_other_files(counting: Any, tmp_path: Path) -> None:
    """Text that is not Python has lines and no comment count; binary data has no lines."""
    text = counting.measure(written(tmp_path, b"# x\n", "notes.txt"))
    binary = counting.measure(written(tmp_path, b"\0\n\n", "image.bin"))
    assert (text.lines, text.comment_lines) == (1, None)
    assert (binary.lines, binary.size) == (0, 3)


def test_unreadable(counting: Any, tmp_path: Path) -> None:
    """A file that is gone, or a folder in its place, is a result with a reason and no failure."""
    assert counting.measure(str(tmp_path / "gone.py")).error == "No such file or directory"
    assert counting.measure(str(tmp_path)).error == "Is a directory"


def test_same_twice(counting: Any, tmp_path: Path) -> None:
    """A job that runs twice has the same result twice."""
    path = written(tmp_path, b"# x\n")
    assert counting.measure(path) == counting.measure(path)


def test_summary(counting: Any) -> None:
    """The summary adds up, takes the ratio over Python files alone and names duplicates but no empty files."""
    summary = counting.summarise(
        [
            counting.File("a.py", 100, 10, "1", 2),
            counting.File("b.py", 100, 10, "1", 2),
            counting.File("c.txt", 300, 80, "2"),
            counting.File("d.py", 0, 0, "3", 0),
            counting.File("e.py", 0, 0, "3", 0),
            counting.File("f.py", error="Permission denied"),
        ]
    )
    assert (summary.files, summary.size, summary.lines) == (6, 500, 100)
    assert (summary.python_files, summary.comment_ratio) == (4, 0.2)
    assert summary.largest[0] == ("c.txt", 300)
    assert (summary.repeated_files, summary.repeated_size) == (1, 100)
    assert summary.duplicates == [(100, 2, ["a.py", "b.py"])]
    assert summary.unreadable == [("f.py", "Permission denied")]


def test_summary_stays_small(counting: Any) -> None:
    """However many files there are, the summary lists a few."""
    files = [counting.File(f"{number}.py", 10, 1, str(number // 3), 0) for number in range(3000)]
    files += [counting.File(f"gone{number}", error="gone") for number in range(3000)]
    summary = counting.summarise(files)
    assert {len(summary.largest), len(summary.duplicates), len(summary.unreadable)} == {counting.LISTED}
    assert all(number == 3 and len(paths) == 2 for _, number, paths in summary.duplicates)


def test_empty_summary(counting: Any) -> None:
    """No files make a summary too."""
    assert counting.summarise([]).comment_ratio == 0


def test_walk(folders: Any, tmp_path: Path) -> None:
    """Every regular file is found once and in order; links, pipes, caches and version control are left out."""
    for name in ("b/two.py", "a.txt", "__pycache__/one.pyc", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    os.mkfifo(tmp_path / "pipe")
    assert list(folders.walk(tmp_path)) == [str(tmp_path / "a.txt"), str(tmp_path / "b" / "two.py")]


def test_python_library(folders: Any) -> None:
    """Without a folder, the standard library is measured, and then what is installed beside it."""
    found = [*folders.python_library()]
    assert os.__file__ in found
    assert pytest.__file__ in found
    assert found.index(os.__file__) < found.index(pytest.__file__)
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB"), (5 << 50, "5120.0 TiB")]
)
def test_readable_size(size: int, text: str) -> None:
    """Sizes are shown in the unit that people read."""
    assert importlib.import_module("sourcestats.text").size(size) == text


def test_progress_without_terminal() -> None:
    """Without a terminal, progress is a line every two seconds and one at the end."""
    now = [0.0]
    stream = io.StringIO()
    with importlib.import_module("sourcestats.progress").Bar(40, stream, clock=lambda: now[0]) as bar:
        for step in range(40):
            now[0] = step / 10
            bar.show(step)
    assert [line.split("  ")[0] for line in stream.getvalue().splitlines()] == ["20 / 40", "40 / 40"]


def test_no_delivery_setting() -> None:
    """The app leaves delivery, broker and workers to its deployment."""
    app = importlib.import_module("sourcestats.tasks").app
    own = {name for name, value in app.conf.table(with_defaults=False).items() if value is not None}
    assert own <= {"beat_schedule", "include"}
    tasks = [task for name, task in app.tasks.items() if name.startswith("sourcestats.")]
    assert {task.acks_late for task in tasks} == {app.conf.task_acks_late}
    assert {task.reject_on_worker_lost for task in tasks} == {app.conf.task_reject_on_worker_lost}
