"""Messages to the init system."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from celerykit.health.sd_notify import notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listen as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield channel


def test_messages_arrive_in_one_datagram(listener: socket.socket) -> None:
    """Systemd reads READY=1 and STATUS= together."""
    notify("READY=1", "STATUS=consuming celery")
    assert listener.recv(1024) == b"READY=1\nSTATUS=consuming celery"


def test_a_socket_without_a_file_is_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An abstract socket, written with '@', works as one in the file system does."""
    name = f"celerykit-test-{tmp_path.name}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name)
        channel.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notify("WATCHDOG=1")
        assert channel.recv(1024) == b"WATCHDOG=1"


def test_an_init_system_that_does_not_listen_harms_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a socket, or with one that is gone, the process goes on."""
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")
