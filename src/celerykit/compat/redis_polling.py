"""Fixes of Kombu's polling of Redis, for older releases."""

from __future__ import annotations

import logging
import select
import time
from contextlib import suppress
from queue import Empty
from typing import Any

from celerykit import releases

logger = logging.getLogger(__name__)


def connection_of(pool: Any) -> Any:
    """Return a connection of a pool of redis-py."""
    return pool.get_connection("_") if releases.version_of("redis") < (5, 3) else pool.get_connection()


def restore_interval(channel: Any) -> float:
    """Return the seconds between two looks for jobs of dead stock workers."""
    option = channel.connection.client.transport_options.get("unacked_restore_interval")
    return float(option or getattr(channel, "unacked_restore_interval", 10))


class OlderPoller:
    """The methods that an older Kombu's poller lacks, as a base class to put before it."""

    _channels: Any
    _fd_to_chan: Any
    _in_protected_read: bool
    after_read: Any
    poller: Any
    on_poll_start: Any
    maybe_restore_messages: Any

    def _unregister_from_poll(self, fileno: int) -> None:
        self.poller.unregister(fileno)

    def _on_connection_disconnect(self, connection: Any) -> None:
        with suppress(ValueError):
            super()._on_connection_disconnect(connection)  # type: ignore[misc]

    def on_readable(self, fileno: int) -> Any:
        """Let a channel read, if it still exists."""
        return super().on_readable(fileno) if fileno in self._fd_to_chan else None  # type: ignore[misc]

    def handle_event(self, fileno: int, event: int) -> Any:
        """Let a channel read, if it still exists."""
        return super().handle_event(fileno, event) if fileno in self._fd_to_chan else None  # type: ignore[misc]

    def maybe_check_brpop_health(self) -> None:
        """Drop connections with an overdue answer: they may be open on this side only."""
        for channel in tuple(self._channels):
            _drop_if_overdue(channel)

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Request messages as an event loop would, and wait for one.

        :raises queue.Empty: if none has come.
        """
        self._in_protected_read = True
        try:
            self.on_poll_start()
            self._read(timeout)
        finally:
            self._in_protected_read = False
            while self.after_read:
                self.after_read.pop()()

    def _read(self, timeout: float | None) -> None:
        events = self.poller.poll(timeout)
        if any(self.handle_event(fileno, event) for fileno, event in events or ()):
            return
        if not events:
            self.maybe_check_brpop_health()
        self.maybe_restore_messages()
        raise Empty


def poller(base: type) -> Any:
    """Return Kombu's poller with its missing methods."""
    return type(base.__name__, (OlderPoller, base), {}) if releases.lacks("steady polling") else base


def _drop_if_overdue(channel: Any) -> None:
    connection, sent_at = channel._in_poll, getattr(channel, "_brpop_sent_at", None)
    if not connection or sent_at is None or not channel.health_check_interval:
        return
    patience = getattr(channel, "brpop_timeout", 1) + channel.health_check_interval
    sock = connection._sock
    if sock is None or time.monotonic() - sent_at < patience or select.select([sock], [], [], 0)[0]:
        return
    logger.warning("Redis has not answered for %g s: dropping the connection", patience)
    connection.disconnect()


def keep_polling(cycle: Any, connection: Any, loop: Any) -> None:
    """Make an event loop keep requesting jobs, and check its connections, as a newer Kombu does.

    :param cycle: the poller of the transport, just registered.
    :param connection: the transport's connection.
    """
    if not releases.lacks("steady polling"):
        return
    cycle._unregister_from_poll = loop.remove_reader

    def on_disconnect(closed: Any) -> None:
        of_it = {
            (channel, kind): (channel, client, kind)
            for channel, client, kind in cycle._chan_to_sock
            if client.connection is closed
        }
        for key in of_it.values():
            del cycle._chan_to_sock[key]
        for fd, entry in list(cycle._fd_to_chan.items()):
            if entry in of_it:
                loop.remove(fd)
                del cycle._fd_to_chan[fd]

    cycle._on_connection_disconnect = on_disconnect
    options = connection.client.transport_options
    loop.call_repeatedly(options.get("unacked_restore_interval") or 10, cycle.maybe_restore_messages)
    loop.call_repeatedly(options.get("health_check_interval") or 25, cycle.maybe_check_brpop_health)
