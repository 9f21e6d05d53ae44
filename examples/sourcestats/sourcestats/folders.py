"""Which files there are to measure."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT_OUT = frozenset({"__pycache__", ".git", ".hg", ".svn"})
INSTALLED = frozenset({"site-packages", "dist-packages"})


def walk(folder: Path, left_out: frozenset[str] = LEFT_OUT) -> Iterator[str]:
    """Yield the path of every regular file below ``folder``, in the same order each time."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in left_out)
        for name in sorted(names):
            path = Path(parent, name)
            # Neither links, which lead in circles and count files twice, nor pipes, which block their reader.
            if path.is_file() and not path.is_symlink():
                yield str(path)


def python_library() -> Iterator[str]:
    """Yield the files of the standard library, then those of the packages installed beside it."""
    # Packages are left out first: those of another environment may lie below its standard library.
    yield from walk(Path(sysconfig.get_path("stdlib")), LEFT_OUT | INSTALLED)
    for folder in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        yield from walk(Path(folder))
