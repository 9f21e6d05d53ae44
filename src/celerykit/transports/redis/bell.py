"""The connection by which Redis wakes a worker."""

from __future__ import annotations

from typing import Any

INVALIDATED = "__redis__:invalidate"


class Bell:
    """Rings when a key that another connection has looked at is changed, or when somebody publishes to its channel."""

    def __init__(self, pool: Any, channel: str):
        """:param pool: the pool whose parameters the connection is to have."""
        # Redis redirects to a subscribed connection in RESP 2 alone, which knows nothing of maintenance.
        kept = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith("maint_")}
        self.connection = pool.connection_class(**{**kept, "protocol": 2})
        self._channel = channel
        self._asked = False

    @property
    def is_up(self) -> bool:
        """Whether it is connected."""
        return self.connection._sock is not None

    def hang_up(self, for_connection: Any) -> None:
        """Connect, and let another connection's reads be followed by a ring when what it has read changes."""
        self.connection.connect()
        self._call(self.connection, "CLIENT", "ID")
        number = self._answer
        self.connection.send_command("SUBSCRIBE", INVALIDATED, self._channel, check_health=False)
        self.connection.read_response()
        self.connection.read_response()
        self._call(for_connection, "CLIENT", "TRACKING", "ON", "REDIRECT", number, "NOLOOP")
        self._asked = False

    def listen(self) -> None:
        """Take all rings that have come."""
        while True:
            self.connection.read_response()
            self._asked = False
            if not self.connection.can_read(timeout=0):
                return

    def is_dead(self) -> bool:
        """Ask for a sign of life, and say whether the last question had no answer."""
        if not self.is_up:
            return False
        if self._asked:
            return True
        self.connection.send_command("PING", check_health=False)
        self._asked = True
        return False

    def close(self) -> None:
        """Disconnect."""
        self.connection.disconnect()

    def _call(self, connection: Any, *command: Any) -> None:
        connection.send_command(*command, check_health=False)
        self._answer = connection.read_response()
