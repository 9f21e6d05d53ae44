"""The jobs that wait for their time on a server, as seen from outside of the transport."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from kombu.connection import Connection
from kombu.utils.encoding import bytes_to_str

from celerykit.transports.redis import keys, scripts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@contextmanager
def room_of(app: Any) -> Iterator[Room]:
    """Open the broker of an app for a while.

    :raises OSError: or an error of the broker's client, if it does not answer at the first attempt.
    """
    with app.connection_for_read() as connection:
        # Not by way of a worker's own class of connections, whose attempts are signs of life of its main thread.
        connect: Any = Connection._ensure_connection
        connect(connection, max_retries=1, reraise_as_library_errors=False)
        with closing(connection.channel()) as channel:
            yield Room(channel)


class Waiting(NamedTuple):
    """A job that waits."""

    due: float
    """Seconds since the epoch, by the server's clock."""
    message: bytes


class Room:
    """Where the jobs of one app's broker wait."""

    def __init__(self, channel: Any):
        """:param channel: any channel of Kombu's to the broker."""
        self._client: Any = redis.Redis(connection_pool=channel.pool)
        self._keys = keys.of(channel)
        self._channel = channel

    def lists(self, queues: Iterable[str]) -> list[str]:
        """Return the lists of queues, with the app's prefix."""
        channel, prefix = self._channel, self._keys.prefix
        return [prefix + channel._q_for_pri(queue, rank) for queue in queues for rank in channel.priority_steps]

    def counts(self, lists: Sequence[str]) -> list[int]:
        """Return how many jobs wait for each list."""
        with self._client.pipeline(transaction=False) as pipe:
            for name in lists:
                pipe.zcard(self._keys.waiting_for(name))
            return [int(count) for count in pipe.execute()]

    def by_list(self) -> dict[str, int]:
        """Return how many jobs wait for each list that some wait for."""
        lists = sorted(map(bytes_to_str, self._client.zrange(self._keys.waiting, 0, -1)))
        return dict(zip(lists, self.counts(lists), strict=True))

    def first(self, lists: Iterable[str], most: int) -> list[Waiting]:
        """Return the jobs of some lists that are due first, so many at most."""
        due: list[tuple[float, bytes]] = []
        for name in lists:
            key = self._keys.waiting_for(name)
            due += [(when, job) for job, when in self._client.zrange(key, 0, most - 1, withscores=True)]
        due = sorted(due)[:most]
        rows = self._client.hmget(self._keys.waiting_jobs, [job for _, job in due]) if due else []
        return [Waiting(when, _message(row)) for (when, _), row in zip(due, rows, strict=True) if row]

    def put_back(self) -> int:
        """Put all of them back into their queues, due or not, and return how many; none while a worker holds a lease.

        Such a worker would put them off again.
        """
        back = 0
        while moved := scripts.RELEASE(self._client, [self._keys.waiting, self._keys.owners], ()):
            back += moved
        return back

    def drop(self, queue: str) -> int:
        """Drop the jobs that wait for a queue, and return how many."""
        dropped = 0
        for name in self.lists([queue]):
            while number := scripts.DROP(self._client, [self._keys.waiting, name], ()):
                dropped += number
        return dropped


def _message(row: bytes) -> bytes:
    """Return the message of a row of ``waiting.lua``: ``length:list`` goes before it."""
    length, _, rest = row.partition(b":")
    return rest[int(length) :]
