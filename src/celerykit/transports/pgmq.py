"""Kombu's transport for PGMQ, with what is left to its user there: the schema, and jobs that are not ended.

PGMQ knows a job by its number and no worker by its connection. So a job that ran while the connection broke is
acknowledged by the next one, and what a channel holds besides is given back at its end: nobody else does that, and
it would wait until the visibility timeout is over. What a worker has is renewed meanwhile: see
:mod:`celerykit.transports.renewal`.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import psycopg
from celery.utils.time import maybe_iso8601
from celery.worker import state
from kombu.transport import pgmq
from pgmq.install import get_embedded_install_sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from celerykit.brokers import postgresql
from celerykit.config.settings import patience
from celerykit.errors import ConfigurationError, Finding
from celerykit.transports.account import Account, Debt, account_for
from celerykit.transports.reaching import Reaching

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

DATABASE = "postgres"
"""The database of a URL that names none, as in Kombu."""
LOCK = 0x706D676D71
"""Held in the database while PGMQ is installed: its script does not go twice."""
# Of the catalogue itself: a function that looks a name up may answer from before the lock was waited for.
IS_THERE = "SELECT count(*) FROM pg_tables WHERE schemaname = 'pgmq' AND tablename = 'meta'"
HAS_FUNCTION = """\
SELECT count(*) FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE nspname = 'pgmq' AND proname = 'send_topic' AND oidvectortypes(proargtypes) = 'text, jsonb, jsonb'"""
FUNCTION = """\
CREATE FUNCTION pgmq.send_topic(routing_key text, msg jsonb, headers jsonb) RETURNS integer LANGUAGE sql VOLATILE
AS $$ SELECT pgmq.send_topic(routing_key, msg, headers, 0) $$"""
"""What the client calls and PGMQ 1.13 lacks: without it, topic exchanges take nothing."""
MAY_CREATE = "SELECT has_schema_privilege('pgmq', 'CREATE')"

AWAY = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
"""What PostgreSQL says that will take jobs again: it is away, full, or read-only until a failover is over."""

SHOWN = frozenset({"argsrepr", "kwargsrepr"})
"""Headers by which people see what a job is for."""


class Channel(Reaching, pgmq.Channel):
    """A channel that gives back what it holds when it ends, and takes acknowledgements beyond that."""

    def __init__(self, connection: Any, **options: Any):
        self.account: Account = connection.account
        super().__init__(connection, **options)

    @property
    def pgmq(self) -> Any:
        """The process's client: this channel may be closed, and the job that is acknowledged run still."""
        return self.account.client

    def drain_events(self, timeout: float | None = None, callback: Any = None, **options: Any) -> None:
        """Fetch nothing more when the worker is to stop, and have its loop see at once that it is."""
        # Exit code 0 is no False here.
        if any(told is not None and told is not False for told in (state.should_stop, state.should_terminate)):
            raise TimeoutError
        super().drain_events(timeout, callback, **options)

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **options: Any) -> None:
        """Consume, and hold each job for as long as this process has it."""
        super().basic_consume(queue, no_ack, *args, **options)
        if not no_ack:
            self.account.renewal.watch(self)

    def fetched(self) -> list[Any]:
        """Return the messages that are neither acknowledged nor given back; from any thread."""
        return [] if self.closed or not self._qos else list(self._qos._delivered.values())

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a job back for good: no renewal may come after."""
        with self.account.renewal.lock:
            super().basic_reject(delivery_tag, requeue)

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge; while PostgreSQL is away, that waits for it instead of letting the job run again."""
        try:
            super().basic_ack(delivery_tag, multiple)
        except AWAY as exc:
            logger.warning("a job has ended, of which PostgreSQL is told when it answers again: %s", exc)
            self.account.debts.extend(self._debts({delivery_tag}, ended=True))
            self.qos.ack(delivery_tag)

    def ack_now(self, message: Any) -> bool:
        """Acknowledge a job that must not run twice, and say whether it was there still.

        :raises psycopg.OperationalError: if PostgreSQL does not take it: the job is its still, and must not run.
        """
        told = message.delivery_info
        was_there = bool(self.pgmq.delete(told["pgmq_queue"], told["pgmq_msg_id"]))
        self.qos.ack(message.delivery_tag)
        message._state = "ACK"
        return was_there

    def put_off(self, message: Any, due: float, _name: str) -> bool:
        """Have PostgreSQL keep a job until it is due, which whoever sent it has not; say whether it does."""
        told = message.delivery_info
        if "pgmq_msg_id" not in told:
            return False
        with self.account.renewal.lock:
            try:
                # The worker sees to the fraction.
                self.pgmq.set_vt(told["pgmq_queue"], told["pgmq_msg_id"], int(due - time.time()))
            except psycopg.Error as exc:
                logger.info("a job waits in this worker until it is due, for PostgreSQL does not take it: %r", exc)
                return False
            self.qos.ack(message.delivery_tag)
            self.qos._flush()  # nothing renews it any more
        message._state = "REQUEUED"
        return True

    def basic_publish(self, message: Any, exchange: str, routing_key: str, **options: Any) -> Any:
        """Publish, in a form that PostgreSQL takes."""
        for name in SHOWN & (message.get("headers") or {}).keys():
            # PostgreSQL takes no NUL and no half of a character; nobody reads the arguments from here.
            message["headers"][name] = _storable(message["headers"][name])
        return super().basic_publish(message, exchange, routing_key, **options)

    def _put_topic(self, exchange: str, message: Any, routing_key: str, **options: Any) -> None:
        key = self._topic_key(exchange, routing_key)
        self.required(self.pgmq.send_topic(key, message, **self._pgmq_send_kwargs(message)), exchange)

    def _get_message_estimate(self, max_if_unlimited: int = 1) -> int:
        """Fetch one job at a time: a stop gives back what the channel holds, not what is on its way there."""
        return int(super()._get_message_estimate(1))

    def close(self) -> None:
        """Give back what has been fetched and does not run: the jobs that wait, for their ETA or for a slot."""
        with self.account.renewal.lock:
            self._give_back()
            super().close()

    def _give_back(self) -> None:
        if not self.closed and self._qos:
            running = {request.message.delivery_tag for request in tuple(state.active_requests)}
            waiting = set(self._qos._delivered) - set(self._qos._dirty) - running
            self.account.debts.extend(self._debts(waiting, ended=False))
            with suppress(psycopg.Error):
                self.account.settle()

    def _pgmq_send_kwargs(self, message: Any) -> dict[str, Any]:
        """Have PostgreSQL keep a job until it is due: in a worker, its time would be over, and it would run twice."""
        told: dict[str, Any] = super()._pgmq_send_kwargs(message)
        eta = maybe_iso8601((message.get("headers") or {}).get("eta"))
        if eta is not None and eta.tzinfo is not None:
            # The worker sees to the fraction.
            told["delay"] = max(0, int((eta - datetime.now(timezone.utc)).total_seconds()))
        return told

    def _debts(self, tags: set[str], *, ended: bool) -> Iterator[Debt]:
        for tag in tags:
            told = self.qos.get(tag).delivery_info
            if "pgmq_msg_id" in told:
                reads = told["pgmq_message"]["read_ct"]
                yield Debt(told["pgmq_queue"], told["pgmq_msg_id"], reads, ended)


class Transport(pgmq.Transport):
    """Kombu's, connecting with an end to every wait, and installing PGMQ where it is not yet."""

    Channel = Channel
    client: Any
    connection_errors: Any = (*pgmq.Transport.connection_errors, psycopg.errors.ReadOnlySqlTransaction)

    @property
    def account(self) -> Account:
        """The account of this process and server."""
        return account_for(self._conninfo(), self.client.transport_options, patience())

    def establish_connection(self) -> Any:
        """Connect once without the pool, whose own errors do not say why.

        :raises ConfigurationError: if the user may not do what it needs: nobody can wait for that.
        """
        try:
            with psycopg.connect(self._conninfo(), autocommit=True) as connection:
                install(connection)
        except psycopg.errors.InsufficientPrivilege as exc:
            url = self.as_uri(self.client.as_uri())
            remedy = postgresql.remedy(str(exc)) or "Give the user what it lacks"
            raise ConfigurationError(Finding("CELERY_BROKER_URL", url, "PostgreSQL", str(exc), remedy)) from exc
        except psycopg.OperationalError as exc:
            raise psycopg.OperationalError(postgresql.with_remedy(str(exc))) from exc
        self.account.settle()
        return super().establish_connection()

    def _get_pgmq_client(self) -> Any:
        return self.account.client

    def _conninfo(self) -> str:
        told = self.client
        seconds = patience()
        own = conninfo_to_dict(told.transport_options.get("conn_string") or "")
        return make_conninfo(
            **{**(told.ssl or {}), **(own or _address(told, self.default_port))},
            application_name="celerykit",
            connect_timeout=int(min(5.0, seconds)),
            keepalives_idle=int(seconds),
            keepalives_interval=int(seconds / 3),
            keepalives_count=3,
            tcp_user_timeout=int(seconds * 1000),
        )


def _storable(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def _address(told: Any, port: int) -> dict[str, Any]:
    return {
        "host": told.hostname or "localhost",
        "port": told.port or port,
        "dbname": (told.virtual_host or "").lstrip("/") or DATABASE,
        "user": told.userid or "postgres",
        "password": told.password or "",
    }


def install(connection: Any) -> None:
    """Install PGMQ into a database that has none, once, however many ask at the same time.

    :param connection: of psycopg, with ``autocommit``.
    """
    if _is_whole(connection):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        if not _answer(connection, IS_THERE):
            connection.execute(get_embedded_install_sql())
        # Where somebody else has installed it, as an extension, jobs do without.
        if not _answer(connection, HAS_FUNCTION) and _answer(connection, MAY_CREATE):
            connection.execute(FUNCTION)


def _is_whole(connection: Any) -> bool:
    return _answer(connection, IS_THERE) and _answer(connection, HAS_FUNCTION)


def _answer(connection: Any, question: str) -> bool:
    return bool(connection.execute(question).fetchone()[0])
