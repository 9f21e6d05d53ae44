"""The first step of every process of the kit's Python: put the app's own packages before the kit's.

A line of ``celerykit-app.pth`` imports this at each start of Python, so it imports next to nothing.
"""

from __future__ import annotations

import os
import site
import sys

DEPS = ".deps"
"""The virtualenv of an app's requirements, in the folder of its release."""
OWN = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def extend() -> None:
    """Put the packages of the app in the current folder on Python's path, and its programs on ``PATH``."""
    for name, at in ((DEPS, packages(os.path.abspath(DEPS))), ("src", os.path.abspath("src"))):
        if os.path.isdir(at) and _is_trusted(name):
            _add(at)
    programs = os.path.abspath(f"{DEPS}/bin")
    if os.path.isdir(programs) and _is_trusted(DEPS) and programs not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join(filter(None, (programs, os.environ.get("PATH"))))


def packages(venv: str) -> str:
    """Return the folder of a virtualenv's packages, for this version of Python."""
    return os.path.join(venv, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")


def _is_trusted(name: str) -> bool:
    """Say whether this user may run a folder's code: root runs only its own."""
    return bool(os.getuid()) or not os.lstat(name).st_uid


def _add(folder: str) -> None:
    before = list(sys.path)
    site.addsitedir(folder)
    added = [path for path in sys.path if path not in before]
    # Before the kit's packages, so that an app gets its own release of a package. An editable install of the kit comes
    # after the packages that it needs.
    at = min((before.index(path) for path in (OWN, packages(sys.prefix)) if path in before), default=len(before))
    sys.path[:] = [*before[:at], *added, *before[at:]]


extend()
