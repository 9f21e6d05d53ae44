"""What result backends refuse for now, what for good, and that a worker waits for the end of the former alone."""

from __future__ import annotations

import errno
import logging
import sqlite3
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from celery import Celery
from celery.backends import base, filesystem
from celery.backends.database import DatabaseBackend
from redis._parsers.base import BaseParser
from redis.client import Pipeline
from redis.exceptions import DataError
from sqlalchemy.exc import DBAPIError

from celerykit.brokers import patience, refusals
from celerykit.compat import retries
from tests.rig.since import since

if TYPE_CHECKING:
    from pathlib import Path

OOM = "OOM command not allowed when used memory > 'maxmemory'."
SAID = {
    OOM: "OOM",
    f"{OOM} script: 4c1ab6, on @user_script:23.": "OOM",
    f"ERR Error running script (call to f_4c1ab6): @user_script:17: @user_script: 17: -{OOM}": "OOM",
    f"EXECABORT Transaction discarded because of: {OOM}": "OOM",
    "NOREPLICAS Not enough good replicas to write.": "NOREPLICAS",
    "EXECABORT Transaction discarded because of: NOREPLICAS Not enough good replicas to write.": "NOREPLICAS",
    "READONLY You can't write against a read only replica.": "READONLY",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "MASTERDOWN",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.": "MISCONF",
    "MISCONF Errors writing to the AOF file: No space left on device": "MISCONF",
    "LOADING Redis is loading the dataset in memory": "LOADING",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": "BUSY",
    "CLUSTERDOWN The cluster is down": "CLUSTERDOWN",
    "TRYAGAIN Multiple keys request during rehashing of slot": "TRYAGAIN",
    "ERR max number of clients reached": "max number of clients reached",
    "ERR max number of clients + cluster connections reached": "max number of clients reached",
}
NEVER = (
    "NOPERM User results has no permissions to run the 'setex' command",
    "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "BUSYKEY Target key name already exists.",
    "EXECABORT Transaction discarded because of previous errors.",
)


def of_pipeline(said: str, value: str = "x") -> Exception:
    """Return what redis-py raises of a pipeline in which a server has refused to store a value."""
    error: Exception = BaseParser.parse_error(said)
    Pipeline(None, {}, True, None).annotate_exception(error, 1, ("SETEX", "celery-task-meta-1", 86400, value))
    return error


def word(error: Exception) -> str | None:
    """Return the word of a refusal."""
    refusal = refusals.of(error)
    return refusal.word if refusal else None


@pytest.mark.parametrize(("said", "expected"), SAID.items())
def test_what_redis_refuses_for_now_is_known_by_its_code(said: str, expected: str) -> None:
    """By itself, in a pipeline, a transaction and a script, each with a remedy."""
    assert word(BaseParser.parse_error(said)) == expected
    assert word(of_pipeline(said)) == expected
    assert refusals.of(of_pipeline(said)).remedy.endswith(".")  # type: ignore[union-attr]


@pytest.mark.parametrize("said", NEVER)
def test_what_redis_refuses_for_good_is_not_waited_for(said: str) -> None:
    """Nor is what merely has such a word in the value that it was to store."""
    assert word(BaseParser.parse_error(said)) is None
    assert word(of_pipeline(said, "caused error: OOM, or -READONLY, or LOADING")) is None
    assert word(DataError("Invalid input of type: 'dict'")) is None
    assert word(ValueError(OOM)) is None


def of_sqlalchemy(error: Exception, kind: Any = psycopg.Error) -> Exception:
    """Return what SQLAlchemy raises of a driver's error."""
    return DBAPIError.instance("INSERT", {}, error, kind)  # type: ignore[return-value]


def of_django(error: Exception) -> Exception:
    """Return what Django raises of a driver's error."""
    raised = RuntimeError("of django.db")
    raised.__cause__ = error
    return raised


@pytest.mark.parametrize("wrap", [of_sqlalchemy, of_django])
@pytest.mark.parametrize("state", ["25006", "40001", "40P01", "53100", "53200", "53300", "57P01", "57P03"])
def test_what_postgresql_refuses_for_now_is_known_by_its_state(state: str, wrap: Any) -> None:
    """Whoever brings the news."""
    assert word(wrap(psycopg.errors.lookup(state)("said"))) == state


@pytest.mark.parametrize("wrap", [of_sqlalchemy, of_django])
@pytest.mark.parametrize("state", ["22001", "22021", "42501", "54000"])
def test_what_postgresql_refuses_for_good_is_final(state: str, wrap: Any) -> None:
    """Too long a value, a character that it has not, a right that is missing: none holds a slot for ever."""
    error = wrap(psycopg.errors.lookup(state)("said"))
    assert refusals.is_final(error) and word(error) is None


class SaidError(Exception):
    """An error of a client that is not installed."""


@pytest.mark.parametrize(("number", "expected"), [(1021, "1021"), (1213, "1213"), (1290, "1290"), (2003, None)])
@pytest.mark.parametrize("module", ["MySQLdb", "pymysql.err", "mysql.connector.errors"])
def test_what_mysql_refuses_for_now_is_known_by_its_number(module: str, number: int, expected: str | None) -> None:
    """By each of its clients; another program's number is none of MySQL's."""
    kind = type("OperationalError", (SaidError,), {"__module__": module})
    assert word(of_django(kind(number, "said"))) == expected
    assert word(SaidError(number, "said")) is None
    too_long = kind(1406, "Data too long for column 'result' at row 1")
    assert refusals.is_final(of_django(too_long)) and word(too_long) is None


def test_what_sqlite_refuses_for_now_is_known_by_its_text(tmp_path: Path) -> None:
    """A file that another process has locked, and one that may not be written to."""
    with sqlite3.connect(tmp_path / "file") as first:
        first.execute("CREATE TABLE t (x)")
    locked = sqlite3.connect(tmp_path / "file", timeout=0)
    first.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError) as caught:
        locked.execute("INSERT INTO t VALUES (1)")
    assert word(of_sqlalchemy(caught.value, sqlite3.Error)) == "is locked"
    first.rollback()
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(f"file:{tmp_path}/file?mode=ro", uri=True).execute("INSERT INTO t VALUES (1)")
    assert word(of_sqlalchemy(caught.value, sqlite3.Error)) == "readonly database"


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the next test Celery as it is."""
    for owner, name in (
        *((base.Backend, name) for name in retries.methods_that_retry()),
        (filesystem.FilesystemBackend, "set"),
        (DatabaseBackend, "exception_safe_to_retry"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))


class Disk:
    """The results of an app in files, on a disk that is full for a while."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **told: Any):
        self.app = Celery("files", backend=f"file://{folder}", set_as_current=False)
        self.app.conf.update({"result_backend_always_retry": True, **told})
        self.backend = self.app.backend
        patience.install(self.app)
        self.error: Exception = OSError(errno.ENOSPC, "No space left on device")
        self.refusals, self.pauses = 0, 0
        monkeypatch.setattr(patience, "LOGGED_AFTER", 0.0)
        monkeypatch.setattr(self.backend, "_sleep", self._sleep)
        monkeypatch.setattr(self.backend, "open", self._open)

    def _sleep(self, _: float) -> None:
        self.pauses += 1

    def _open(self, name: bytes, mode: str) -> Any:
        if mode == "wb" and self.refusals:
            self.refusals -= 1
            with open(name, mode) as file:
                file.write(b'{"half of a re')
            raise self.error
        return open(name, mode)

    def store(self) -> str:
        """Store a result as a worker does, and return what is there."""
        self.backend.store_result("job", 5, "SUCCESS")
        return str(self.app.AsyncResult("job").state)


@pytest.mark.usefixtures("unchanged")
def test_a_result_waits_until_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when that begins, with the word and the remedy, and one when it is over."""
    disk = Disk(tmp_path, monkeypatch)
    disk.refusals = 30
    caplog.set_level(logging.INFO)
    assert disk.store() == "SUCCESS"
    assert disk.pauses == 30
    began, ended = [record.message for record in caplog.records if record.name == patience.__name__]
    assert "refuses results: ENOSPC" in began and "Give its disk room." in began
    assert "accepts results again" in ended


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "told", [{"result_backend_always_retry": False}, {"result_backend_max_retries": 2}], ids=["never", "twice"]
)
def test_an_app_may_have_less_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any]) -> None:
    """Its own settings of retries hold for refusals, too."""
    disk = Disk(tmp_path, monkeypatch, **told)
    disk.refusals = 30
    with pytest.raises(OSError, match="No space left"):
        disk.store()
    assert disk.pauses == (2 if "result_backend_max_retries" in told else 0)


@pytest.mark.usefixtures("unchanged")
def test_an_error_that_no_wait_mends_is_raised_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No slot is held for ever by a result that can never be stored."""
    disk = Disk(tmp_path, monkeypatch)
    disk.refusals, disk.error = 1, PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(PermissionError):
        disk.store()
    assert disk.pauses == 0


@since("one retry for all")
@pytest.mark.usefixtures("unchanged")
def test_a_value_without_room_in_a_database_is_raised_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery takes every error of a database for an outage, which the kit waits out."""
    app = Celery("rows", backend=f"db+sqlite:///{tmp_path}/results", set_as_current=False)
    app.conf.update(result_backend_always_retry=True, result_backend_max_retries=100)
    patience.install(app)
    pauses: list[float] = []
    monkeypatch.setattr(app.backend, "_sleep", pauses.append)
    errors = [psycopg.errors.lookup(state)("said") for state in ("22001", "40001", "08006")]

    def refuse(*_: Any, **__: Any) -> None:
        raise of_sqlalchemy(errors.pop())

    monkeypatch.setattr(app.backend, "_update_result", refuse)
    with pytest.raises(DBAPIError, match="said"):
        app.backend.store_result("job", 5, "SUCCESS")
    assert len(pauses) == 2 and not errors
