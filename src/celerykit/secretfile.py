"""Secret files: readable by a group, and replaced in one step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from celerykit import onestep

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> str:
    """Return the content of a file, an empty string if there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def write(path: Path, content: str, mode: int = 0o640) -> bool:
    """Write the content in one step, if it differs; the folder's group may read the file.

    :returns: whether the file was written.
    """
    if read(path) == content:
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    onestep.write(path, content, rights=lambda descriptor: os.fchmod(descriptor, mode), sync=True)
    return True


def permit(path: Path) -> str:
    """Return the remedy that lets the user of this process read a path."""
    user = os.geteuid()
    try:
        status = path.stat()
        owner = f"It is of user {status.st_uid}, mode {status.st_mode & 0o7777:04o}. "
    except OSError:
        owner = ""
    ways = f"setfacl -R -m u:{user}:rX {path}, or chmod -R o+rX, on the host if it is mounted from there"
    return f"{owner}Let user {user} read it: {ways}; or run as its owner"
