"""The connection by whose end Redis knows that a worker is dead: the kernel of a killed process closes it at once."""

from __future__ import annotations

import os
import socket
import weakref
from contextlib import suppress
from typing import Any

IDLE, INTERVAL, TIMES = 15, 5, 3
"""Seconds without traffic, seconds between two questions, and how many of them, until TCP calls a peer gone."""


class Presence:
    """A subscription to a channel that nobody publishes to: what counts is that somebody is there.

    It needs neither Python's lock nor a turning loop, so that a job which holds up either does not end it. Nothing is
    ever sent by it after the subscription: TCP asks whether a peer is there only while nothing is on the way to it.
    """

    def __init__(self, pool: Any, channel: str):
        """:param pool: the pool whose parameters the connection is to have."""
        kept = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith("maint_")}
        self._connection = pool.connection_class(**{**kept, "protocol": 2})
        self._channel = channel
        _present.add(self)

    @property
    def is_up(self) -> bool:
        """Whether it is connected, as far as this side knows."""
        return self._connection._sock is not None

    def renew(self) -> None:
        """Connect anew.

        :raises redis.RedisError: if the server cannot be reached, or refuses.
        """
        self.close()
        self._connection.connect()
        _have_kernel_ask(self._connection._sock)
        self._connection.send_command("SUBSCRIBE", self._channel, check_health=False)
        self._connection.read_response()

    def close(self) -> None:
        """Disconnect: from now on this worker is gone as soon as its lease is over."""
        self._connection.disconnect()

    def leave_to_parent(self) -> None:
        """In a forked child: let go of what else would keep the connection open when the parent is killed."""
        connection, sock = self._connection, self._connection._sock
        if sock is not None:
            # Neither a close of Python's, which may say goodbye in the parent's name, nor one more of it later.
            connection._sock = None
            with suppress(OSError):
                os.close(sock.detach())


def _have_kernel_ask(sock: Any) -> None:
    """Keep the connection known to whatever stands between: the kernel asks, whatever this process does."""
    with suppress(OSError, AttributeError):  # a socket of the file system, or not Linux
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, TIMES)


def _leave_all_to_parent() -> None:
    for presence in list(_present):
        presence.leave_to_parent()


_present: weakref.WeakSet[Presence] = weakref.WeakSet()
os.register_at_fork(after_in_child=_leave_all_to_parent)
