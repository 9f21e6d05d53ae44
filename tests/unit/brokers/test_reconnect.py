"""Pauses of a worker that connects anew."""

from __future__ import annotations

from celerykit.brokers.reconnect import Rest


def test_a_worker_that_is_refused_once_connected_tries_ever_more_rarely() -> None:
    """As it is by a full Redis; after one error in a long while it tries again at once."""
    now = [0.0]
    rest = Rest(lambda: now[0])
    pauses = []
    for _ in range(7):
        pauses.append(rest.seconds())
        now[0] += pauses[-1] + 0.2
    now[0] += 60
    assert [*pauses, rest.seconds()] == [0, 0.5, 1, 2, 4, 5, 5, 0]
