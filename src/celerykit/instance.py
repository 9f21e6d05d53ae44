"""Which of a host's apps this kit serves: the kit in ``/opt/celery-shop`` serves the app ``shop``.

Each app has a kit of its own there. So the place of a kit says whose it is, and no caller has to. Anywhere else it is
the app without a name.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

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


def state_folder(environ: Mapping[str, str]) -> str:
    """Return where state files are: as told, else of the unit, else ``/run/celery``, else of this user."""
    if told := environ.get("CELERYKIT_STATE_DIR"):
        return told
    if runtime := environ.get("RUNTIME_DIRECTORY"):
        return runtime.partition(":")[0]
    if os.access(STATE_DIR, os.W_OK):
        return STATE_DIR
    return f"{environ.get('TMPDIR') or '/tmp'}/celerykit-{os.getuid()}"  # noqa: S108  # only its owner may write there
