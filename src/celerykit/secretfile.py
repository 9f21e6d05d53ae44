"""Files whose readers get in by their group, replaced in one step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from celerykit import onestep

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> str:
    """Return what the file holds, nothing if there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def write(path: Path, content: str, mode: int = 0o640) -> bool:
    """Put the content there in one step, if it is not; readers get in by the group that the folder hands down.

    :returns: whether the file was written.
    """
    if read(path) == content:
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    onestep.write(path, content, rights=lambda descriptor: os.fchmod(descriptor, mode), sync=True)
    return True


def permit(path: Path) -> str:
    """Return how the user of this process gets to read a path."""
    user = os.geteuid()
    try:
        found = path.stat()
        owner = f"It is of user {found.st_uid}, mode {found.st_mode & 0o7777:04o}. "
    except OSError:
        owner = ""
    ways = f"setfacl -R -m u:{user}:rX {path}, or chmod -R o+rX, on the host if it is mounted from there"
    return f"{owner}Let user {user} read it: {ways}; or run as its owner"
