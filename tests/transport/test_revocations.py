"""Revocations in Redis, by the user that workers are."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.worker import state

from celerykit.control import revocations
from celerykit.control.revocations import InRedis

if TYPE_CHECKING:
    from tests.transport.server import Server

pytestmark = pytest.mark.each_server


class Place:
    """An app's store on a server."""

    def __init__(self, server: Server, **options: Any):
        self._app = Celery("any", broker=server.url, set_as_current=False)
        self._app.conf.broker_transport_options = options
        self.store = InRedis()

    def write(self, *names: str) -> None:
        """Keep the revocations of some jobs."""
        with self._app.connection_for_write() as connection:
            self.store.write(connection, revocations.of_jobs(list(names)))

    def read(self) -> list[str]:
        """Return the jobs that are revoked."""
        found: deque[tuple[str, float]] = deque()
        with self._app.connection_for_write() as connection:
            self.store.read(connection, found)
        return [revocations.parts_of(what)[0] for what, _ in found]


def test_revocations_are_kept_once_under_each_prefix(server: Server) -> None:
    """Whoever writes them, those of one app are not another's, and they end by themselves."""
    mine, others = Place(server, global_keyprefix="shop"), Place(server)
    mine.write("a", "b")
    mine.write("b", "a")
    others.write("c")
    assert sorted(mine.read()) == ["a", "b"]
    assert others.read() == ["c"]
    assert 0 < server.root.ttl("shopcelerykit.revoked") <= revocations.KEEP


def test_revocations_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """In number, the oldest going first, and in time."""
    monkeypatch.setattr(state, "REVOKES_MAX", 600)
    place = Place(server)
    place.write("old")
    place.write(*(f"job-{number}" for number in range(600)))
    assert sorted(place.read()) == sorted(f"job-{number}" for number in range(600))
    server.root.zadd("celerykit.revoked", {'["ancient"]': 1.0})
    assert "ancient" not in Place(server).read()
    place.write("new")
    assert server.root.zscore("celerykit.revoked", '["ancient"]') is None


def test_a_full_server_keeps_revocations(server: Server) -> None:
    """It refuses jobs, but somebody wants to have fewer of them run just then."""
    server.root.config_set("maxmemory", 1)
    place = Place(server)
    place.write("a")
    assert place.read() == ["a"]
