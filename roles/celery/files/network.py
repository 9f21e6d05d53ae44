"""What of the controller's a host needs where it reaches no package index by itself."""

from __future__ import annotations

import pack
from sources import SourceError, own_path


def authority(bundle: str) -> str:
    """Return the certificates of ``celery_ca_bundle``, a file.

    :raises SourceError: if it cannot be read.
    """
    try:
        return own_path(bundle).read_text(encoding="utf-8")
    except OSError as exc:
        said = f"celery_ca_bundle={bundle}: cannot be read: {exc.strerror}"
        raise SourceError(f"{said}. Name a file on this machine.") from exc


def wheelhouse(folder: str) -> str:
    """Return an archive of the wheels in ``celery_wheelhouse``, a folder.

    :raises SourceError: if it cannot be read, or has none.
    """
    try:
        wheels = {path.name: path for path in own_path(folder).iterdir() if path.suffix == ".whl"}
        problem = "no wheel is in it"
    except OSError as exc:
        wheels, problem = {}, str(exc.strerror)
    if not wheels:
        raise SourceError(f"celery_wheelhouse={folder}: {problem}. Name a folder of wheels on this machine.")
    return str(pack.pack("wheels", wheels))
