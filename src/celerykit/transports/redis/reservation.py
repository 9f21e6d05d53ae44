"""What a channel asks of the server, and its queues as the server is told of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kombu.utils.json import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True)
class PutOff:
    """A job whose time has not come."""

    job: str
    due: float
    """In seconds since the epoch, by this machine's clock: the server is told of the seconds that are left."""
    name: str
    """By which a revocation finds it: its id."""

    def told(self) -> tuple[Any, ...]:
        """Return what the server is told."""
        return self.job, max(0.0, self.due - time.time()), self.name


@dataclass
class News:
    """What Redis does not know yet of jobs that this worker has."""

    settled: list[str] = field(default_factory=list)
    put_off: list[PutOff] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.settled or self.put_off)

    def told(self) -> tuple[Any, ...]:
        """Return what the server is told."""
        later = [part for job in self.put_off for part in job.told()]
        return (len(self.settled), *self.settled, len(self.put_off), *later)


@dataclass
class Request:
    """What has been asked of the server and not been answered yet."""

    news: News
    number: int
    queues: Sequence[str]
    command: tuple[Any, ...]


class Queues:
    """The names of queues and of their lists, as bytes and made once, for a job waits for each request.

    :param lists_of: says where the jobs of a queue are, by rank.
    """

    def __init__(self, lists_of: Callable[[str], Iterable[str]]):
        self._lists_of = lists_of
        self._told: dict[str, tuple[bytes, ...]] = {}
        self._queues: dict[bytes, str] = {}

    def tell(self, queue: str) -> tuple[bytes, ...]:
        """Return a queue's name as JSON, and its lists by rank."""
        if queue not in self._told:
            self._told[queue] = tuple(part.encode() for part in (dumps(queue), *self._lists_of(queue)))
            self._queues.update(dict.fromkeys(self._told[queue][1:], queue))
        return self._told[queue]

    def lists(self, queue: str) -> Sequence[bytes]:
        """Return the lists of a queue by rank."""
        return self.tell(queue)[1:]

    def of(self, lists: Iterable[bytes]) -> set[str]:
        """Return the queues that some of these lists are of, as far as they have been told."""
        return {self._queues[name] for name in lists if name in self._queues}
