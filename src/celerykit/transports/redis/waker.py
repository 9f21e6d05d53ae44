"""How other threads, and greenlets, end a poller's wait."""

from __future__ import annotations

import contextlib
import socket


class Alarm:
    """A pair of sockets; the poller waits for the one, anybody writes to the other."""

    def __init__(self) -> None:
        self._sock, self._writer = socket.socketpair()
        self._sock.setblocking(False)
        self._writer.setblocking(False)
        self._raised = False

    @property
    def connection(self) -> Alarm:
        """What a poller asks for a socket."""
        return self

    def raise_(self) -> None:
        """End the wait, or the next one; from any thread."""
        if not self._raised:
            self._raised = True
            with contextlib.suppress(OSError):
                self._writer.send(b"!")

    def lower(self) -> None:
        """Take it back; whatever it was raised for must be seen to after this."""
        with contextlib.suppress(OSError):
            self._sock.recv(64)
        self._raised = False

    def close(self) -> None:
        """Close both ends; raised from now on, it ends no wait."""
        self._raised = True
        self._sock.close()
        self._writer.close()
