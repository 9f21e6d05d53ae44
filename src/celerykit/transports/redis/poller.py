"""Waits for all connections of a transport at once."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kombu.transport import redis as stock

from celerykit.compat import redis_polling

if TYPE_CHECKING:
    from celerykit.transports.redis.interfaces import Polled

ANSWER, BELL, ALARM = "ANSWER", "BELL", "ALARM"
OURS = frozenset({ANSWER, BELL, ALARM})


class Poller(redis_polling.poller(stock.MultiChannelPoller)):  # type: ignore[misc]
    """Kombu's; a channel with a lease has an answer to read, a bell, and an alarm that other threads raise."""

    def on_poll_start(self) -> None:
        """Send what is due, before the wait."""
        super().on_poll_start()
        for channel in tuple(self._channels):
            if channel.fetcher is not None:
                channel.fetcher.on_turn(self)

    def listen(self, channel: Polled, kind: str, source: Any) -> None:
        """Wait for a connection of a channel, too."""
        sock = source.connection._sock
        if self._chan_to_sock.get((channel, source, kind)) is sock:
            return
        self.forget(channel, kind, source)
        self._chan_to_sock[channel, source, kind] = sock
        self._fd_to_chan[sock.fileno()] = (channel, kind)
        self.poller.register(sock, self.eventflags)

    def forget(self, channel: Polled, kind: str, source: Any) -> None:
        """Wait for it no more."""
        self._chan_to_sock.pop((channel, source, kind), None)
        for fd, known in list(self._fd_to_chan.items()):
            if known == (channel, kind):
                del self._fd_to_chan[fd]
                with suppress(OSError, KeyError, ValueError):  # closed already
                    self._unregister_from_poll(fd)

    def on_readable(self, fileno: int) -> Any:
        """Let the channel read, and say whether a job was delivered."""
        channel, kind = self._fd_to_chan.get(fileno, (None, None))
        if channel is not None and kind in OURS:
            return channel.handlers[kind]()
        return super().on_readable(fileno)

    def handle_event(self, fileno: int, event: int) -> Any:
        """Let the channel read where something is wrong, too: it is told when it does."""
        if self._fd_to_chan.get(fileno, (None, None))[1] in OURS:
            return self.on_readable(fileno)
        return super().handle_event(fileno, event)

    def maybe_check_brpop_health(self) -> None:
        """Drop connections on which an answer is overdue."""
        super().maybe_check_brpop_health()
        for channel in tuple(self._channels):
            if channel.fetcher is not None:
                channel.fetcher.sources.check_bell()

    def _on_connection_disconnect(self, connection: Any) -> None:
        for channel, source, kind in list(self._chan_to_sock):
            if kind in OURS and source.connection is connection:
                self.forget(channel, kind, source)
        super()._on_connection_disconnect(connection)

    def _register_BRPOP(self, channel: Polled) -> None:  # noqa: N802  # Kombu's name
        if channel.fetcher is None:
            super()._register_BRPOP(channel)
