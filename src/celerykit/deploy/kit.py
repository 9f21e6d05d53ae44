"""The kit on a host: the archive that is copied there, and the virtualenv that is made of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from celerykit.app.folder import is_left_out
from celerykit.brokers import postgresql
from celerykit.deploy import archive

if TYPE_CHECKING:
    from celerykit.deploy.refusals import Refusals
    from celerykit.deploy.variables import Variables

EXTRAS = ("redis", "gevent", "flower")
"""The optional dependencies of the images. An app that needs more requires it itself."""
PLANNING = "src/celerykit/deploy/"
"""No host runs this, so that a change of it makes no other virtualenv and restarts no worker."""


class Kit(TypedDict):
    """The archive on the controller, and its virtualenv on the host."""

    archive: str
    id: str
    venv: str
    whole: str
    """The last file that the installation writes."""
    python: str


def make(values: Variables, root: str, refusals: Refusals) -> Kit:
    """Return the archive of the kit and the virtualenv to make of it, below the folder of the app."""
    content = _content(values, refusals)
    # A text for readers is in the package, and does not make it another package.
    identifying = {name: file for name, file in content.items() if not name.endswith((".md", "LICENSE"))}
    identifying["python"] = f"{values['python']} {values['python_version']}".encode()
    identity = archive.digest(identifying)
    venv = f"{root}/venvs/{identity}"
    return {
        "archive": str(archive.pack("kit", content)),
        "id": identity,
        "venv": venv,
        "whole": f"{venv}/celerykit.pyz",
        "python": values["python"],
    }


def _content(values: Variables, refusals: Refusals) -> dict[str, Path | bytes]:
    """Return the files of the archive."""
    found = archive.files(Path(values["files"], "kit"), is_left_out)
    content: dict[str, Path | bytes] = {name: file for name, file in found.items() if not name.startswith(PLANNING)}
    if source := values["kit_source"]:
        if not re.fullmatch(r"celerykit==[\w.!+-]+", source):
            refusals.add(f"celery_kit_source={source}", "not one version", "Write celerykit==VERSION")
        content = {name: file for name, file in content.items() if not name.startswith("src/")}
        content["requirement.txt"] = f"{source}\n".encode()
    content["extras.txt"] = "".join(f"{name}\n" for name in _extras(values)).encode()
    return content


def _extras(values: Variables) -> list[str]:
    """Return the optional dependencies that are installed: the client of PostgreSQL where a URL is of it."""
    on_postgresql = values["broker_url"].startswith("pgmq:") or postgresql.is_of(values["result_backend"])
    return [*EXTRAS, "postgresql"] if on_postgresql else [*EXTRAS]
