"""systemd's readiness protocol, ``sd_notify(3)``; nothing happens where ``NOTIFY_SOCKET`` is not set."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(*assignments: str) -> None:
    """Send assignments such as ``READY=1``; an init system that does not listen is not our failure."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(1.0)
        channel.sendto("\n".join(assignments).encode(), address)
