"""What a file holds, and what many files hold together."""

from __future__ import annotations

import hashlib
import io
import tokenize
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PYTHON = frozenset({".py", ".pyi", ".pyw"})
TOKENIZED_UP_TO = 2_000_000
"""Bytes of a Python file up to which its comments are counted: about 3 s of work."""
LISTED = 5
"""Entries in each of a summary's lists, which keeps its result small however many files there are."""

_BLOCK = 1 << 20
_LAYOUT = frozenset({tokenize.ENCODING, tokenize.INDENT, tokenize.DEDENT, tokenize.NL})


@dataclass(frozen=True)
class File:
    """What one file holds.

    It depends on the file alone, so a job that runs twice says the same twice.
    """

    path: str
    size: int = 0
    lines: int = 0
    sha256: str = ""
    comment_lines: int | None = None
    """None for a file that is not Python, or that Python cannot read."""
    error: str = ""
    """Why the file could not be read."""


@dataclass(frozen=True)
class Summary:
    """What many files hold together."""

    files: int
    size: int
    lines: int
    python_files: int
    python_lines: int
    comment_lines: int
    largest: list[tuple[str, int]]
    """Paths and sizes."""
    repeated_files: int
    """How many files could go without losing any content."""
    repeated_size: int
    duplicates: list[tuple[int, int, list[str]]]
    """Size, number and two paths of files with the same content, those that waste most first."""
    unreadable_files: int
    unreadable: list[tuple[str, str]]
    """Paths and reasons."""

    @property
    def comment_ratio(self) -> float:
        """The share of comments and docstrings in the lines of Python files."""
        return self.comment_lines / self.python_lines if self.python_lines else 0.0


def measure(path: str) -> File:
    """Return what the file at ``path`` holds; for a file that cannot be read, why."""
    try:
        size, lines, digest = _read(path)
        comments = count_comments(Path(path).read_bytes()) if _is_python(path, size) else None
    except OSError as exc:
        return File(path, error=exc.strerror or type(exc).__name__)
    return File(path, size, lines, digest, comments)


def count_comments(source: bytes) -> int | None:
    """Return how many lines of Python source have a comment or belong to a docstring; None where it is not Python."""
    if b"\0" in source:
        return None  # as Python says since 3.12; before, its tokenizer took it for text
    lines: set[int] = set()
    statement: list[tokenize.TokenInfo] = []
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            if token.type == tokenize.COMMENT:
                lines.add(token.start[0])
            elif token.type == tokenize.NEWLINE:
                lines.update(_docstring_lines(statement))
                statement.clear()
            elif token.type not in _LAYOUT:
                statement.append(token)
    # Python 2, an encoding that does not exist, bytes that are not of the encoding: none of it is a reason to fail.
    except (SyntaxError, tokenize.TokenError, ValueError):
        return None
    return len(lines)


def summarise(files: Iterable[File]) -> Summary:
    """Add up ``files``."""
    listed = list(files)
    readable = [file for file in listed if not file.error]
    python = [file for file in readable if file.comment_lines is not None]
    failed = [(file.path, file.error) for file in listed if file.error]
    copies = _duplicates(readable)
    return Summary(
        files=len(listed),
        size=sum(file.size for file in readable),
        lines=sum(file.lines for file in readable),
        python_files=len(python),
        python_lines=sum(file.lines for file in python),
        comment_lines=sum(file.comment_lines or 0 for file in python),
        largest=[(file.path, file.size) for file in sorted(readable, key=lambda file: -file.size)[:LISTED]],
        repeated_files=sum(len(paths) - 1 for _, paths in copies),
        repeated_size=sum(size * (len(paths) - 1) for size, paths in copies),
        duplicates=[(size, len(paths), paths[:2]) for size, paths in copies[:LISTED]],
        unreadable_files=len(failed),
        unreadable=failed[:LISTED],
    )


def _read(path: str) -> tuple[int, int, str]:
    """Return size, lines and SHA-256, whatever the size, in little memory."""
    size = lines = 0
    digest = hashlib.sha256()
    last = b"\n"
    binary = False
    with Path(path).open("rb") as stream:
        while block := stream.read(_BLOCK):
            # As git does: text has no zero byte at its start.
            binary = binary or (size == 0 and b"\0" in block[:8192])
            size += len(block)
            lines += block.count(b"\n")
            digest.update(block)
            last = block[-1:]
    return size, 0 if binary else lines + (last != b"\n"), digest.hexdigest()


def _is_python(path: str, size: int) -> bool:
    return Path(path).suffix in PYTHON and size <= TOKENIZED_UP_TO


def _docstring_lines(statement: list[tokenize.TokenInfo]) -> Iterable[int]:
    """Return the lines of a statement that is only a string."""
    if not statement or any(token.type != tokenize.STRING for token in statement):
        return ()
    return range(statement[0].start[0], statement[-1].end[0] + 1)


def _duplicates(files: list[File]) -> list[tuple[int, list[str]]]:
    """Return size and paths of files with the same content, those that waste most first."""
    same: dict[tuple[int, str], list[str]] = defaultdict(list)
    for file in files:
        if file.size:  # every empty file is like every other
            same[file.size, file.sha256].append(file.path)
    copies = [(size, sorted(paths)) for (size, _), paths in same.items() if len(paths) > 1]
    return sorted(copies, key=lambda copy: (-copy[0] * (len(copy[1]) - 1), copy[1]))
