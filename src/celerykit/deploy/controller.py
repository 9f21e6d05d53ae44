"""Files of the controller, the machine that runs Ansible, that a host gets: certificates, variables, and wheels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celerykit.deploy import archive
from celerykit.deploy.sources import own_path

if TYPE_CHECKING:
    from celerykit.deploy.refusals import Refusals


def text(file: str, variable: str, refusals: Refusals) -> str:
    """Return the text of a file that a variable names, nothing if it names none or the file is refused."""
    try:
        return own_path(file).read_text(encoding="utf-8") if file else ""
    except OSError as exc:
        refusals.add(f"{variable}={file}", f"cannot be read: {exc.strerror}", "Name a file on this machine")
        return ""


def wheelhouse(folder: str, variable: str, refusals: Refusals) -> str:
    """Return an archive of the wheels in a folder that a variable names, nothing if it names none or it is refused."""
    if not folder:
        return ""
    try:
        wheels = {path.name: path for path in own_path(folder).iterdir() if path.suffix == ".whl"}
        problem = "no wheel is in it"
    except OSError as exc:
        wheels, problem = {}, str(exc.strerror)
    if not wheels:
        refusals.add(f"{variable}={folder}", problem, "Name a folder of wheels on this machine")
        return ""
    return str(archive.pack("wheels", wheels))
