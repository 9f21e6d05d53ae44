"""Requirements files as pip reads them: their included files, and the files of the folder that they name."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celerykit.app.folder import Folder

INCLUDE = re.compile(r"(?:-r|--requirements?|-c|--constraints?)[ =]*(.+)")
OPTION = re.compile(r"(?:-e|--editable|-f|--find-links)[ =]*(.+)")
NAMED = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[[^]]*\])?\s*(.*)")


def files(folder: Folder, first: str) -> list[str]:
    """Return a requirements file and its included files, as far as they are in the folder."""
    included, waiting = [], [first]
    while waiting:
        name = waiting.pop()
        if name in included or not folder.has(name):
            continue
        included.append(name)
        waiting += [
            posixpath.normpath(posixpath.join(posixpath.dirname(name), match[1].strip("'\"")))
            for line in lines(folder, name)
            if (match := INCLUDE.match(line))
        ]
    return included


def lines(folder: Folder, name: str) -> Iterator[str]:
    """Yield the lines of one file without comments and blank lines, joined with their continuation lines."""
    for line in re.sub(r"\\\n", " ", folder.text(name)).splitlines():
        if content := re.sub(r"(^|\s)#.*", "", line).strip():
            yield content


def local(folder: Folder, names: list[str]) -> set[str]:
    """Return the files of the folder that requirements name: wheels, folders of wheels, source folders."""
    paths: set[str] = set()
    for name in names:
        for line in lines(folder, name):
            option = OPTION.match(line)
            path = re.sub(r"^([\w.-]+\s*@\s*)?(file:(//)?)?|\[[^]]*\]|[\s;].*$", "", option[1] if option else line)
            # For pip, a path is relative to the working directory, but --find-links to the file that holds it.
            for base in ("", posixpath.dirname(name)):
                place = posixpath.normpath(posixpath.join(base, path.strip("'\"")))
                paths.update(folder.below("" if place == "." else place))
    return paths


def names(folder: Folder, files: list[str]) -> dict[str, bool]:
    """Return the required packages, each with whether it is pinned to one version or place."""
    pinned = {}
    for name in files:
        for line in lines(folder, name):
            match = NAMED.match(line)
            if match and not re.match(r"[./]", line) and "/" not in match[1] and not line.endswith(".whl"):
                pinned[normal(match[1])] = bool(re.match(r"===?[^*]*($|[\s;])|@", match[2]))
    return pinned


def normal(name: str) -> str:
    """Return a package's normalized name, as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
