"""The files of an app's folder: the selection of those that belong to the app, and their copy.

It runs on the machine that runs Ansible, too, and needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from celerykit.app.errors import AppError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

LEFT_OUT = frozenset({"__pycache__", ".deps", ".git", ".hg", ".svn", ".tox", ".venv", "node_modules", "venv"})
CACHES = re.compile(r"\..*_cache")
KINDS = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
ENV_FILE = re.compile(r"\.env(\..*)?")


@dataclass
class Folder:
    """The files and folders of an app, by their names below its folder."""

    path: Path
    files: dict[str, Path] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """The reason why a file is left out, by its name; caches and histories are left out without a reason."""

    def has(self, name: str) -> bool:
        """Say whether the app has a file."""
        return name in self.files

    def text(self, name: str) -> str:
        """Return the text of a file, an empty string if there is none."""
        return self.files[name].read_text(encoding="utf-8", errors="replace") if name in self.files else ""

    def below(self, name: str) -> list[str]:
        """Return the files below one of its folders, or the file of that name."""
        return [each for each in self.files if not name or each == name or each.startswith(f"{name}/")]


def read(path: Path) -> Folder:
    """Read the names of a folder's files, and follow links.

    :raises AppError: if this user cannot read one of them.
    """
    folder = Folder(path)
    _walk(folder, path, "", frozenset())
    return folder


def is_left_out(name: str) -> bool:
    """Say whether a file or folder of this name belongs to no app: a cache, a history, a virtualenv."""
    return name in LEFT_OUT or bool(CACHES.fullmatch(name))


def digest(folder: Folder, names: Iterable[str]) -> str:
    """Return a SHA-256 of the names, rights and content of some files."""
    total = hashlib.sha256()
    for name in sorted(names):
        file = folder.files[name]
        total.update(f"{name}\0{os.access(file, os.X_OK):d}".encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def copy(folder: Folder, target: Path, change: Callable[[str, bytes], bytes] = lambda _, content: content) -> None:
    """Copy the app to a new folder; others may read the copy, its owner may write.

    :param change: returns a file's content in the copy, from its name and its content.
    """
    target.mkdir(mode=0o755)
    for name in folder.folders:
        (target / name).mkdir(mode=0o755)
    for name, source in folder.files.items():
        file = target / name
        file.write_bytes(change(name, source.read_bytes()))
        file.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _walk(folder: Folder, path: Path, name: str, above: frozenset[Path]) -> None:
    if not os.access(path, os.R_OK | os.X_OK):
        raise _unreadable(name)
    above |= {path.resolve()}
    for entry in sorted(path.iterdir()):
        if not is_left_out(entry.name):
            _take(folder, entry, f"{name}/{entry.name}".lstrip("/"), above)


def _take(folder: Folder, entry: Path, name: str, above: frozenset[Path]) -> None:
    try:
        mode = entry.stat().st_mode
    except OSError:
        folder.left_out[name] = "a link to what is not there"
        return
    if stat.S_ISDIR(mode):
        if entry.resolve() in above:
            folder.left_out[name] = "a link to a folder that it lies in"
            return
        folder.folders.append(name)
        _walk(folder, entry, name, above)
    elif not stat.S_ISREG(mode):
        folder.left_out[name] = KINDS.get(stat.S_IFMT(mode), "no file")
    elif os.access(entry, os.R_OK):
        folder.files[name] = entry
    elif ENV_FILE.fullmatch(entry.name):
        folder.left_out[name] = "only its owner may read it; if the app is to read it by itself: chmod a+r"
    else:
        raise _unreadable(name)


def _unreadable(name: str) -> AppError:
    shown = f"{name} of " if name else ""
    return AppError(
        f"user {os.getuid()} cannot read {shown}the app's folder. Let others read it: chmod -R go+rX FOLDER"
    )
