"""The system packages that an app needs: one name a line in ``apt.txt`` of its folder."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from celerykit.app.errors import PACKAGES, AppError

if TYPE_CHECKING:
    from celerykit.app.folder import Folder

FILE = "apt.txt"


def listed(text: str) -> list[str]:
    """Return the package names in the text of an ``apt.txt``."""
    return [name for line in text.splitlines() if (name := line.partition("#")[0].strip())]


def check(folder: Folder) -> None:
    """Refuse an app if its system packages are not installed.

    :raises AppError: if some are missing.
    """
    if missing := [name for name in listed(folder.text(FILE)) if not _is_installed(name)]:
        raise AppError(f"{FILE}: not installed here: {' '.join(missing)}", PACKAGES)


def _is_installed(package: str) -> bool:
    command = ["dpkg-query", "--show", "--showformat", "${db:Status-Status}", package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return True  # not Debian: package names differ there, so leave them to the maker of that system
    return done.stdout == "installed"
