"""The app of a host that this kit serves: the kit in ``/opt/celery-shop`` serves the app ``shop``.

Each app of a host has a kit of its own, so the kit's path names the app. A kit in any other place serves the app
without a name.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = "/opt/celery-"
UMBRELLA, BEAT, FLOWER = "celeryd", "celerybeat", "celery-flower"
"""The units of the app without a name: of all pools, of beat, and of Flower. sysvinit has scripts of these names."""


def of(prefix: str) -> str:
    """Return the name of the app that a virtualenv serves, an empty string for the app without a name."""
    return prefix.removeprefix(ROOT).partition("/")[0] if prefix.startswith(ROOT) else ""


NAME = of(sys.prefix)


def named(word: str) -> str:
    """Return the name of a unit, folder or user of this app: ``celeryd``, or ``celeryd-shop``."""
    return f"{word}-{NAME}" if NAME else word


STATE_DIR = named("/run/celery")
"""The folder of the state files of this app's processes."""


def state_folder(environ: Mapping[str, str]) -> str:
    """Return the folder of state files: the configured one, else the unit's, else ``/run/celery``, else this user's."""
    if folder := environ.get("CELERYKIT_STATE_DIR"):
        return folder
    if runtime := environ.get("RUNTIME_DIRECTORY"):
        return runtime.partition(":")[0]
    if os.access(STATE_DIR, os.W_OK):
        return STATE_DIR
    return f"{environ.get('TMPDIR') or '/tmp'}/celerykit-{os.getuid()}"  # noqa: S108  # only its owner may write there
