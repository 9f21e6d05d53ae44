"""Which of a host's apps this kit serves: the kit in ``/opt/celery-shop`` serves the app ``shop``.

Each app has a kit of its own there. So the place of a kit says whose it is, and no caller has to. Anywhere else it is
the app without a name.
"""

from __future__ import annotations

import sys

ROOT = "/opt/celery-"


def of(prefix: str) -> str:
    """Return the name of the app that a virtualenv serves, nothing for the app without a name."""
    return prefix.removeprefix(ROOT).partition("/")[0] if prefix.startswith(ROOT) else ""


NAME = of(sys.prefix)


def named(word: str) -> str:
    """Return what a unit, folder or user of this app is called: ``celeryd``, or ``celeryd-shop``."""
    return f"{word}-{NAME}" if NAME else word


STATE_DIR = named("/run/celery")
"""The folder in which each process of this app says how it is."""
