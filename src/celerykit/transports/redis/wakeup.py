"""The connection by which Redis wakes a worker."""

from __future__ import annotations

import time
from typing import Any

from redis.exceptions import InvalidResponse

INVALIDATED = "__redis__:invalidate"


class Bell:
    """Rings when a key that another connection has looked at is changed, or when somebody publishes to its channel."""

    def __init__(self, pool: Any, channel: str):
        """:param pool: the pool whose parameters the connection is to have."""
        # Redis redirects to a subscribed connection in RESP 2 alone, which knows nothing of maintenance.
        kept = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith("maint_")}
        self.connection = pool.connection_class(**{**kept, "protocol": 2})
        self._channel = channel
        self._waits = False
        self._asked_at = 0.0

    @property
    def is_up(self) -> bool:
        """Whether it is connected."""
        return self.connection._sock is not None

    def hang_up(self, for_connection: Any) -> None:
        """Connect, and ring when something changes that another connection has looked at, having said that it cares."""
        self.connection.connect()
        number = _call(self.connection, "CLIENT", "ID")
        self.connection.send_command("SUBSCRIBE", INVALIDATED, self._channel, check_health=False)
        self.connection.read_response()
        self.connection.read_response()
        _call(for_connection, "CLIENT", "TRACKING", "ON", "REDIRECT", number, "OPTIN", "NOLOOP")
        self._waits, self._asked_at = False, time.monotonic()

    def listen(self) -> set[bytes] | None:
        """Take all rings that have come, and return the keys that they are for; None if one is for no key."""
        changed: set[bytes] | None = set()
        while True:
            try:
                told = self.connection.read_response()
            except InvalidResponse:
                # So Redis says in RESP 2 that a database was emptied, any of them, to a client whose other connection
                # speaks RESP 3. This one is of no use from here on.
                self.close()
                return None
            self._waits = False
            if changed is not None and told[0] == b"message":
                # Nothing in place of keys if a database was emptied.
                is_for_keys = told[1] == INVALIDATED.encode() and told[2] is not None
                changed = changed.union(told[2]) if is_for_keys else None
            if not self.connection.can_read(timeout=0):
                return changed

    def is_dead(self, patience: float) -> bool:
        """Ask for a sign of life every so many seconds, and say whether one has not come for as long."""
        now = time.monotonic()
        if not self.is_up or now - self._asked_at < patience:
            return False
        if self._waits:
            return not self.connection.can_read(timeout=0)  # a job may have kept this side from reading its answer
        self.connection.send_command("PING", check_health=False)
        self._waits, self._asked_at = True, now
        return False

    def close(self) -> None:
        """Disconnect."""
        self.connection.disconnect()


def _call(connection: Any, *command: Any) -> Any:
    connection.send_command(*command, check_health=False)
    return connection.read_response()
