"""What a channel asks of the server, and its queues as the server is told of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kombu.utils.json import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass
class Request:
    """What has been asked of the server and not been answered yet."""

    settled: list[str]
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

    def tell(self, queue: str) -> tuple[bytes, ...]:
        """Return a queue's name as JSON, and its lists by rank."""
        if queue not in self._told:
            self._told[queue] = tuple(part.encode() for part in (dumps(queue), *self._lists_of(queue)))
        return self._told[queue]

    def lists(self, queue: str) -> Sequence[bytes]:
        """Return the lists of a queue by rank."""
        return self.tell(queue)[1:]
