"""Errors of a result backend that answers and refuses: those that pass, with their remedies, and those that do not.

Attributes of an error identify its client, so that no client has to be installed or imported.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SPACE = "Give its disk room."
_SESSIONS = "Let it take more connections, or start fewer workers."
_WAIT = "It passes by itself."
_PRIMARY = "It is read-only: wait for the failover, or let the URL name the primary."
_MASTER = "Wait for the failover, or let the URL name the master."

_REDIS: Mapping[str, str] = {
    "OOM": "Raise maxmemory, or shorten result_expires.",
    "NOREPLICAS": "Let a replica follow it, or lower min-replicas-to-write.",
    "READONLY": _MASTER,
    "MASTERDOWN": _MASTER,
    "MISCONF": _SPACE,
    "LOADING": _WAIT,
    "TRYAGAIN": _WAIT,
    "BUSY": "A script keeps it busy: end it by SCRIPT KILL.",
    "CLUSTERDOWN": "Bring back the nodes of the cluster.",
}
"""Codes of temporary refusals by Redis and compatible servers, with their remedies."""
_REDIS_CLASSES: Mapping[str, str] = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "TryAgainError": "TRYAGAIN",
}
"""Error classes of redis-py whose text lacks the code, with that code."""
_REDIS_CODE = re.compile(rf"-?({'|'.join(_REDIS)})\b")
_IN_SCRIPT = re.compile(rf"Error running script.* -({'|'.join(_REDIS)})\b", re.DOTALL)
_FULL_OF_CLIENTS = "max number of clients"

_SQLSTATES: Mapping[str, str] = {
    "25006": _PRIMARY,
    "40001": _WAIT,
    "40P01": _WAIT,
    "53000": "Give it more memory or disk.",
    "53100": _SPACE,
    "53200": "Give it more memory.",
    "53300": _SESSIONS,
    "57P01": _WAIT,
    "57P02": _WAIT,
    "57P03": _WAIT,
}
"""SQLSTATE codes of PostgreSQL for conditions that pass, with their remedies."""
_MYSQL: Mapping[int, str] = {
    1021: _SPACE,
    1040: _SESSIONS,
    1114: _SPACE,
    1205: _WAIT,
    1213: _WAIT,
    1290: _PRIMARY,
    1792: _PRIMARY,
    1836: _PRIMARY,
}
"""Error numbers of MySQL and MariaDB for conditions that pass, with their remedies."""
_SQLITE: Mapping[str, str] = {
    "is locked": _WAIT,
    "disk is full": _SPACE,
    "readonly database": "Let the worker write to its file.",
}
"""Parts of SQLite's messages for conditions that pass, with their remedies."""
_FILES: Mapping[int, str] = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: "Raise the quota of its disk.",
    errno.EROFS: "Mount its disk to be written to.",
}
_FINAL_SQLSTATES = ("22", "42501", "54")
"""Prefixes of SQLSTATE codes that never pass: a bad value, a missing right, a limit of the server."""
_FINAL_MYSQL = frozenset({1142, 1143, 1153, 1227, 1264, 1366, 1406})


@dataclass(frozen=True)
class Refusal:
    """A temporary refusal: the server's own code, and the remedy."""

    word: str
    remedy: str


def of(exc: BaseException) -> Refusal | None:
    """Return the temporary refusal behind an error, None for a final error and for any other."""
    if is_final(exc):
        return None
    for error in _layers(exc):
        if refusal := _of_redis(error) or _of_database(error) or _of_file(error):
            return refusal
    return None


def is_final(exc: BaseException) -> bool:
    """Say whether a database refuses for good: too large a value, a value of no known type, a missing right."""
    return any(_is_final(error) for error in _layers(exc))


def _layers(exc: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes: SQLAlchemy keeps the driver's error in ``orig``, Django in ``__cause__``."""
    seen: list[BaseException] = []
    error: Any = exc
    while isinstance(error, BaseException) and error not in seen:
        seen.append(error)
        yield error
        error = getattr(error, "orig", None) or error.__cause__


def _is_final(error: BaseException) -> bool:
    state = str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")
    return state.startswith(_FINAL_SQLSTATES) or type(error).__name__ == "DataError" or _mysql(error) in _FINAL_MYSQL


def _of_redis(error: BaseException) -> Refusal | None:
    names = [cls.__name__ for cls in type(error).__mro__ if cls.__module__.startswith("redis.")]
    if "RedisError" not in names:
        return None
    word = next((_REDIS_CLASSES[name] for name in names if name in _REDIS_CLASSES), "")
    # A pipeline puts the refused command before the error, and a transaction the reason of its end.
    message = str(error).rpartition("caused error: ")[2].rpartition("because of: ")[2]
    if match := _REDIS_CODE.match(message) or _IN_SCRIPT.search(message):
        word = word or match[1]
    if not word and _FULL_OF_CLIENTS in message:
        return Refusal("max number of clients reached", "Raise maxclients, or start fewer workers.")
    return Refusal(word, _REDIS[word]) if word else None


def _of_database(error: BaseException) -> Refusal | None:
    state = str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")
    if state in _SQLSTATES:
        return Refusal(state, _SQLSTATES[state])
    if (number := _mysql(error)) in _MYSQL:
        return Refusal(str(number), _MYSQL[number])
    if type(error).__module__ == "sqlite3":
        return next((Refusal(text, remedy) for text, remedy in _SQLITE.items() if text in str(error)), None)
    return None


def _mysql(error: BaseException) -> int:
    """Return the error number of a MySQL client's error, 0 for any other error."""
    if not type(error).__module__.lower().startswith(("mysql", "pymysql")):
        return 0
    number = getattr(error, "errno", None) or next(iter(error.args), 0)
    return int(number) if isinstance(number, int) else 0


def _of_file(error: BaseException) -> Refusal | None:
    number = error.errno or 0 if isinstance(error, OSError) else 0
    return Refusal(errno.errorcode[number], _FILES[number]) if number in _FILES else None
