"""Renews the time for which PGMQ leaves jobs to a worker, beside whatever the worker's main thread does."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from celery.worker import state
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

ATTEMPTS = 6
"""How often a time is renewed before it would be over."""
LONGEST_WAIT = 20.0
"""Seconds between two renewals at most."""
# A job that was fetched once more is somebody else's by now.
RENEW = """\
UPDATE {} AS job SET vt = clock_timestamp() + make_interval(secs => %s)
FROM unnest(%s::bigint[], %s::int[]) AS held (number, reads)
WHERE job.msg_id = held.number AND job.read_ct = held.reads"""


class Account(Protocol):
    """Whoever has the client of a server."""

    @property
    def client(self) -> Any:
        """The client, its pool open."""


class Channel(Protocol):
    """Whoever fetches jobs."""

    @property
    def visibility_timeout(self) -> float:
        """Seconds for which a job is left to whoever has fetched it."""

    def fetched(self) -> Iterable[Any]:
        """Return the messages that are not settled."""


class Renewal:
    """A thread, or a greenlet where the standard library is patched, for all channels of one account.

    Nothing ends it while the process lives: a worker that is stuck ends itself, and one that stands still renews
    nothing.
    """

    def __init__(self, account: Account):
        self.lock = threading.RLock()
        """Held while jobs are renewed; whoever gives one back must hold it, or the job would be taken again at once."""
        self._account = account
        self._channels: WeakSet[Channel] = WeakSet()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed = False

    def watch(self, channel: Channel) -> None:
        """Renew from now on what this channel fetches."""
        self._channels.add(channel)
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=[channel.visibility_timeout], name="renewal", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End, and renew no more."""
        self._stopped.set()

    def _run(self, seconds: float) -> None:
        while not self._stopped.wait(min(LONGEST_WAIT, seconds / ATTEMPTS)):
            try:
                with self.lock:
                    self._renew(seconds)
            except Exception as exc:  # whatever it is, a worker must not go on without
                if not self._failed:
                    logger.warning("PostgreSQL does not renew the worker's hold on its jobs: %r", exc)
                self._failed = True
            else:
                if self._failed:
                    logger.info("PostgreSQL renews the worker's hold on its jobs again")
                self._failed = False

    def _renew(self, seconds: float) -> None:
        held: dict[str, dict[int, int]] = defaultdict(dict)
        for told in self._held():
            held[told["pgmq_queue"]][told["pgmq_msg_id"]] = told["pgmq_message"]["read_ct"]
        for queue, jobs in held.items():
            query = sql.SQL(RENEW).format(sql.Identifier("pgmq", f"q_{queue}".lower()))
            with self._account.client.pool.connection() as connection:
                connection.execute(query, [seconds, [*jobs], [*jobs.values()]])

    def _held(self) -> Iterator[dict[str, Any]]:
        """Yield how PGMQ knows each job of this process; those that run may be of a connection that has broken."""
        fetched = [message for channel in tuple(self._channels) for message in channel.fetched()]
        running = [request.message for request in tuple(state.active_requests)]
        for message in (*fetched, *running):
            if "pgmq_msg_id" in message.delivery_info and getattr(message.channel, "account", None) is self._account:
                yield message.delivery_info
