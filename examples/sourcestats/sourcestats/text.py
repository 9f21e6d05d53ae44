"""The summary as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sourcestats.counting import Summary


def render(summary: Summary, seconds: float) -> Iterator[str]:
    """Yield the lines of ``summary``, which took ``seconds``."""
    yield f"{summary.files:,} files in {seconds:.1f} s: {summary.files / seconds:,.0f} jobs a second"
    yield ""
    yield f"  size      {size(summary.size)}"
    yield f"  lines     {summary.lines:,}"
    lines, files = f"{summary.python_lines:,} lines", f"{summary.python_files:,} Python files"
    yield f"  comments  {summary.comment_ratio:.1%} of {lines} in {files}"
    yield from _largest(summary)
    yield from _duplicates(summary)
    yield from _unreadable(summary)


def size(count: int) -> str:
    """Return a number of bytes as people read it.

    >>> size(1536)
    '1.5 KiB'
    """
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def _largest(summary: Summary) -> Iterator[str]:
    yield from ("", "Largest files")
    for path, count in summary.largest:
        yield f"  {size(count):>10}  {path}"


def _duplicates(summary: Summary) -> Iterator[str]:
    if summary.duplicates:
        yield from ("", f"Duplicates: {summary.repeated_files:,} of the files, {size(summary.repeated_size)}")
    for count, number, paths in summary.duplicates:
        others = f" and {number - 2:,} more" if number > 2 else ""
        yield f"  {size(count):>10}  {paths[0]}"
        yield f"{'':10}  = {paths[1]}{others}"


def _unreadable(summary: Summary) -> Iterator[str]:
    if summary.unreadable_files:
        yield from ("", f"Not readable: {summary.unreadable_files:,} of the files")
        yield from (f"  {path}: {reason}" for path, reason in summary.unreadable)
