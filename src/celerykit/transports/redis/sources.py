"""The connections by which a channel hears of jobs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celerykit.compat import redis_polling
from celerykit.transports.redis.poller import ALARM, ANSWER, BELL
from celerykit.transports.redis.waker import Alarm
from celerykit.transports.redis.wakeup import Bell

if TYPE_CHECKING:
    from celerykit.transports.redis.poller import Poller

logger = logging.getLogger(__name__)


class Sources:
    """The one that requests go by, the bell that Redis rings, and the alarm that other threads raise."""

    def __init__(self, channel: Any, rings_at: str):
        """:param rings_at: the channel of Redis by which others wake this worker."""
        self.alarm = Alarm()
        self.bell: Bell | None = None
        self._channel = channel
        self._rings_at = rings_at
        self._hung_on: Any = None

    @property
    def is_up(self) -> bool:
        """Whether the connection for requests is there, as far as this side knows."""
        connection = getattr(self._channel.client, "connection", None)
        return connection is not None and connection._sock is not None

    def connect(self, poller: Poller) -> bool:
        """Have them all in the poller, and say whether Redis has been asked anew to ring the bell."""
        client = self._channel.client
        if getattr(client, "connection", None) is None:
            client.connection = redis_polling.connection_of(client.connection_pool)
        if client.connection._sock is None:
            client.connection.connect()
        if self.bell is None:
            self.bell = Bell(self._channel.async_pool, self._rings_at)
        is_new = self._hung_on != (client.connection._sock, self.bell.connection._sock) or not self.bell.is_up
        if is_new:
            self.bell.close()
            self.bell.hang_up(client.connection)
            self._hung_on = (client.connection._sock, self.bell.connection._sock)
        for kind, source in ((ANSWER, client), (BELL, self.bell), (ALARM, self.alarm)):
            poller.listen(self._channel, kind, source)
        return is_new

    def read(self, *, after_leave: bool) -> Any:
        """Return the answer to a request.

        :param after_leave: whether it comes after the leave to track what is looked at.
        """
        client = self._channel.client
        try:
            if after_leave:
                client.connection.read_response()
            return client.parse_response(client.connection, "EVALSHA")
        except self._channel.connection_errors:
            client.connection.disconnect()
            raise

    def check_bell(self) -> None:
        """Drop a bell that does not answer."""
        channel, bell = self._channel, self.bell
        if bell is not None and channel.active_queues and bell.is_dead(0.9 * channel.health_check_interval):
            logger.warning("the connection on which Redis wakes this worker is dead: dropping it")
            bell.close()

    def close(self) -> None:
        """Listen no more; the connection for requests is the channel's to close."""
        channel = self._channel
        for kind, source in ((ALARM, self.alarm), (BELL, self.bell), (ANSWER, channel.client)):
            channel.connection.cycle.forget(channel, kind, source)
        self.alarm.close()
        if self.bell is not None:
            self.bell.close()
