"""The queues that a channel consumes, as Redis is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celerykit.transports.redis import scripts
from celerykit.transports.redis.keys import BATCH
from celerykit.transports.redis.reservation import News, Queues, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_BYTES = 1 << 20
"""A reservation ends with the job that passes this: larger ones hold up the server, and everybody with it."""
BELIEF = 5
"""Seconds for which somebody is believed to stand at the door without saying so again."""
LOOKED, ROUNDS = 500, 10
"""Queues at least, and in how many parts at most, that are looked at without a reason at a time."""
COUNTED = 4000
"""Lists whose lengths are asked for at once."""


class Consumption:
    """Says what Redis is asked, about some of them or all."""

    def __init__(self, channel: Any):
        self._channel = channel
        self._queues = Queues(self._lists_of)
        self._waiters: tuple[frozenset[str], tuple[str, ...]] = frozenset(), ()
        self._looked = 0

    def ask(
        self, news: News, number: int, queues: Sequence[str], *, want: int, slots: int | None, moves: bool = False
    ) -> Request:
        """Return a request for jobs; without slots it is not one of a worker that waits to be woken.

        :param moves: whether it is to move jobs whose time has come before.
        """
        channel, lease = self._channel, self._channel.lease
        keys = lease.keys
        steps = [
            keys.unacked, keys.index, lease.owned, keys.owners, *self._line_and_door(), keys.waiting,
        ]  # fmt: skip
        lists = [part for queue in queues for part in self._queues.tell(queue)]
        takes_turns = channel.queue_order_strategy == "round_robin"
        arguments = (
            lease.owner, lease.workplace.lease_seconds, number, want, slots or 0, int(slots is not None),
            int(takes_turns), keys.bells, MOST_BYTES, BELIEF,
            *news.told(), int(moves), BATCH, lease.workplace.ahead(),
            len(queues), len(channel.priority_steps), *lists,
        )  # fmt: skip
        return Request(news, number, queues, scripts.RESERVE.command(steps, arguments))

    def watch(self, number: int, queues: Sequence[str]) -> Request:
        """Return a request that has Redis ring when a job comes into one of some queues."""
        return Request(News(), number, queues, ("EXISTS", *self.lists(queues)))

    def has_work(self, client: Any) -> bool:
        """Say whether there is work that nobody has rung for, in the next of the queues where they are many.

        :param client: of the thread that asks.
        """
        lists = self.lists(self._some())
        arguments = (self._channel.lease.owner, BELIEF, *lists)
        return bool(scripts.HAS_WORK(client, self._line_and_door(), arguments))

    def count(self, queues: Sequence[str]) -> int:
        """Return how many jobs are in queues; from any thread."""
        lists = self.lists(queues)
        total = 0
        for start in range(0, len(lists), COUNTED):
            with self._channel.lease.client.pipeline(transaction=False) as pipe:
                for name in lists[start : start + COUNTED]:
                    pipe.llen(name)
                total += sum(pipe.execute())
        return total

    def all_lists(self) -> list[bytes]:
        """Return the lists of all queues that are consumed."""
        return self.lists(tuple(self._channel.active_queues))

    def lists(self, queues: Iterable[str]) -> list[bytes]:
        """Return the lists of some queues."""
        return [key for queue in queues for key in self._queues.lists(queue)]

    def queues_of(self, lists: Iterable[bytes]) -> set[str]:
        """Return the queues that some lists are of, as far as Redis has been told of them."""
        return self._queues.of(lists)

    def _some(self) -> Sequence[str]:
        """Return the next of the queues to look at, where they are many: a bell is seldom lost."""
        queues = tuple(self._channel.active_queues)
        number = max(LOOKED, len(queues) // ROUNDS + 1)
        begin, self._looked = self._looked, self._looked + number
        if self._looked >= len(queues):
            self._looked = 0
        return queues[begin : begin + number]

    def _line_and_door(self) -> tuple[str, ...]:
        """Return the keys of those that wait to be woken for just these queues; from any thread."""
        queues, (known, waiters) = frozenset(self._channel.active_queues), self._waiters
        if queues != known or not waiters:
            keys = self._channel.lease.keys
            waiters = keys.line(queues), keys.doorman(queues)
            self._waiters = queues, waiters
        return waiters

    def _lists_of(self, queue: str) -> Iterable[str]:
        channel = self._channel
        return (channel.global_keyprefix + channel._q_for_pri(queue, rank) for rank in channel.priority_steps)
