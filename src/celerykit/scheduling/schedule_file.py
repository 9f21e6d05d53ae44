"""The file with the last run of each entry of beat: read once, and replaced in one step."""

from __future__ import annotations

import logging
import os
import pickle
import shelve
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class ScheduleFile(dict[str, Any]):
    """A replacement for the :mod:`shelve` of Celery's scheduler, held in memory.

    On a full volume, a shelf loses its changes, and may be damaged at the next start. This one keeps all changes, and
    the file is always the last complete one.
    """

    def __init__(self, path: str):
        """Read the file, or a shelf of Celery's own; if that fails, log it and begin a new schedule."""
        super().__init__()
        self._path = Path(path)
        try:
            self.update(_read(self._path))
        except Exception:  # a pickle may raise anything
            logger.exception("CELERY_BEAT_SCHEDULE=%s: cannot be read. Beat begins a new schedule there", path)

    def sync(self) -> None:
        """Write the schedule.

        :raises OSError: if the write fails; the file is unchanged then.
        """
        draft = self._path.with_name(f"{self._path.name}.new")
        with draft.open("wb") as file:
            pickle.dump(dict(self), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def close(self) -> None:
        """Do nothing, as a shelf does after :meth:`sync`."""


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
