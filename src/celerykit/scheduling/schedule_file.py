"""The file in which beat keeps when each entry last ran: read once, written whole, replaced in one step."""

from __future__ import annotations

import logging
import os
import pickle
import shelve
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class ScheduleFile(dict[str, Any]):
    """What Celery's scheduler takes for its :mod:`shelve`, held in memory.

    A shelf that could not be written, as on a full volume, forgets what it was told, and may be found damaged at the
    next start. This one keeps all of it, and the file is always the last one that was written whole.
    """

    def __init__(self, path: str):
        """Read what is there, a shelf of Celery's own, too; what cannot be read is said, and begun anew."""
        super().__init__()
        self._path = Path(path)
        try:
            self.update(_read(self._path))
        except Exception:  # a pickle may raise anything
            logger.exception("CELERY_BEAT_SCHEDULE=%s: cannot be read. Beat begins a new schedule there", path)

    def sync(self) -> None:
        """Write it.

        :raises OSError: if that is refused; the file is what it was.
        """
        draft = self._path.with_name(f"{self._path.name}.new")
        with draft.open("wb") as file:
            pickle.dump(dict(self), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def close(self) -> None:
        """Do what a shelf's does, which is nothing after :meth:`sync`."""


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return dict(pickle.load(file))  # noqa: S301  # as Celery's own, and its folder is beat's alone
    except FileNotFoundError:
        if not any(path.with_name(path.name + suffix).exists() for suffix in (".db", ".dat")):
            return {}
    except pickle.UnpicklingError:
        pass  # a shelf, as Celery writes it
    with shelve.open(str(path), "r") as shelf:  # noqa: S301
        return dict(shelf)
