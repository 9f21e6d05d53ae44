"""What a host gets from files of the controller's: certificates, variables, and wheels."""

from __future__ import annotations

import pack
from sources import SourceError, own_path


def text(file: str, variable: str) -> str:
    """Return what is in a file that a variable names, such as ``celery_ca_bundle``.

    :raises SourceError: if it cannot be read.
    """
    try:
        return own_path(file).read_text(encoding="utf-8")
    except OSError as exc:
        said = f"{variable}={file}: cannot be read: {exc.strerror}"
        raise SourceError(f"{said}. Name a file on this machine.") from exc


def wheelhouse(folder: str, variable: str) -> str:
    """Return an archive of the wheels in a folder that a variable names, ``celery_wheelhouse``.

    :raises SourceError: if it cannot be read, or has none.
    """
    try:
        wheels = {path.name: path for path in own_path(folder).iterdir() if path.suffix == ".whl"}
        problem = "no wheel is in it"
    except OSError as exc:
        wheels, problem = {}, str(exc.strerror)
    if not wheels:
        raise SourceError(f"{variable}={folder}: {problem}. Name a folder of wheels on this machine.")
    return str(pack.pack("wheels", wheels))
