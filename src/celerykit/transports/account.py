"""A process's account with a server of PGMQ: its client there, and what it owes the server."""

from __future__ import annotations

import atexit
import os
from collections import deque
from dataclasses import dataclass
from typing import Any

import psycopg
from pgmq import PGMQueue
from psycopg import sql
from psycopg_pool import ConnectionPool

from celerykit.transports.renewal import Renewal

STILL_OURS = "UPDATE {} SET vt = clock_timestamp() WHERE msg_id = %s AND read_ct = %s"


@dataclass(frozen=True)
class Debt:
    """A job that has ended, or is to be given back, when PostgreSQL answers again."""

    queue: str
    number: int
    reads: int
    """How often it had been fetched by then: if it was fetched once more, it is somebody else's."""
    ended: bool

    def pay(self, client: Any) -> None:
        """Delete the job, or let others fetch it."""
        if self.ended:
            client.delete(self.queue, self.number)
            return
        table = sql.Identifier("pgmq", f"q_{self.queue}".lower())
        with client.pool.connection() as connection:
            connection.execute(sql.SQL(STILL_OURS).format(table), [self.number, self.reads])


class Account:
    """The one client of a process for a server, which outlives the connections of Kombu; and what it owes."""

    def __init__(self, conninfo: str, options: dict[str, Any], seconds: float):
        pool = ConnectionPool(
            conninfo, min_size=1, max_size=options.get("pool_size", 10), max_idle=60, timeout=seconds, open=False
        )
        self.debts: deque[Debt] = deque()
        self.renewal = Renewal(self)
        self._pool = pool
        self._process = os.getpid()
        # Its threads would hold up the end of the process.
        atexit.register(self.close)
        self._client = PGMQueue(conn_string=conninfo, pool=pool, init_extension=False)

    @property
    def client(self) -> Any:
        """The client, its pool open."""
        if self._pool.closed:
            self._pool.open()
        return self._client

    def close(self) -> None:
        """End the pool's connections and threads; a fork that ends leaves those of its parent alone."""
        self.renewal.stop()
        if os.getpid() == self._process:
            self._pool.close()

    def settle(self) -> None:
        """Pay what is owed; what cannot be paid now stays."""
        while self.debts:
            debt = self.debts.popleft()
            try:
                debt.pay(self.client)
            except psycopg.Error:
                self.debts.append(debt)
                raise


def account_for(conninfo: str, options: dict[str, Any], seconds: float) -> Account:
    """Return the one account of this process with a server.

    :param options: of Kombu's transport.
    :param seconds: to wait for a connection at most.
    """
    key = os.getpid(), conninfo
    if key not in _accounts:
        _accounts.setdefault(key, Account(conninfo, options, seconds))
    return _accounts[key]


_accounts: dict[tuple[int, str], Account] = {}
"""By process, which may be a fork, and server."""
