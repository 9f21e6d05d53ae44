"""Requirements files as pip reads them: the files that they include, and what of the folder they name."""

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
    """Return a requirements file and those that it includes, as far as they are in the folder."""
    found, waiting = [], [first]
    while waiting:
        name = waiting.pop()
        if name in found or not folder.has(name):
            continue
        found.append(name)
        waiting += [
            posixpath.normpath(posixpath.join(posixpath.dirname(name), told[1].strip("'\"")))
            for line in lines(folder, name)
            if (told := INCLUDE.match(line))
        ]
    return found


def lines(folder: Folder, name: str) -> Iterator[str]:
    """Yield the lines of one file that say something, joined where they go on."""
    for line in re.sub(r"\\\n", " ", folder.text(name)).splitlines():
        if said := re.sub(r"(^|\s)#.*", "", line).strip():
            yield said


def local(folder: Folder, names: list[str]) -> set[str]:
    """Return the files of the folder that requirements name: wheels, folders of wheels, source folders."""
    found: set[str] = set()
    for name in names:
        for line in lines(folder, name):
            told = OPTION.match(line)
            path = re.sub(r"^([\w.-]+\s*@\s*)?(file:(//)?)?|\[[^]]*\]|[\s;].*$", "", told[1] if told else line)
            # pip takes a path from where it runs, an included file's --find-links from that file.
            for base in ("", posixpath.dirname(name)):
                place = posixpath.normpath(posixpath.join(base, path.strip("'\"")))
                found.update(folder.below("" if place == "." else place))
    return found


def names(folder: Folder, files: list[str]) -> dict[str, bool]:
    """Return the packages that are asked for, and whether each is pinned to one version or place."""
    found = {}
    for name in files:
        for line in lines(folder, name):
            told = NAMED.match(line)
            if told and not re.match(r"[./]", line) and "/" not in told[1] and not line.endswith(".whl"):
                found[normal(told[1])] = bool(re.match(r"===?[^*]*($|[\s;])|@", told[2]))
    return found


def normal(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
