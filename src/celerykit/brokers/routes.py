"""The ways by which RabbitMQ puts a job into its queue: Celery's own, and one by the queue's name for all of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from amqp.exceptions import NotFound
from kombu.common import Broadcast
from kombu.entity import Exchange, Queue
from kombu.entity import binding as Binding  # noqa: N812  # a class, whatever its name
from kombu.transport import native_delayed_delivery

from celerykit.brokers import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DELAYED = native_delayed_delivery.level_name(native_delayed_delivery.MAX_LEVEL)
"""The exchange where a delay begins; its levels are the bits of the routing key's first 28 words."""
DUE = native_delayed_delivery.CELERY_DELAYED_DELIVERY_EXCHANGE
"""The exchange where a delay ends."""
_STOCK, _STANDS_FOR = "celerykit_stock", "celerykit_stands_for"
_BITS = re.compile(rf"(?:[01]\.){{{native_delayed_delivery.MAX_NUMBER_OF_BITS_TO_USE}}}")
_KEPT = (
    "binding_arguments",
    "queue_arguments",
    "durable",
    "exclusive",
    "auto_delete",
    "no_declare",
    "expires",
    "message_ttl",
    "max_length",
    "max_length_bytes",
    "max_priority",
)


class Bound(Queue):
    """A queue with one of the exchanges that reach it.

    A connection remembers what it has declared; Kombu tells queues apart by name alone.
    """

    def declare(self, nowait: bool = False, channel: Any = None) -> Any:
        """Declare the queue and bind it; its exchange is made by whoever may bind to it.

        An exchange that is there without the queue would take jobs, and drop them.
        """
        channel = channel or self.channel
        if not getattr(self, "no_declare", False):
            self.queue_declare(nowait=nowait, channel=channel)  # type: ignore[no-untyped-call]
            try:
                self.queue_bind(nowait=nowait, channel=channel)  # type: ignore[no-untyped-call]
            except NotFound:
                self.exchange.declare(channel=channel)  # type: ignore[no-untyped-call]
                self.queue_bind(nowait=nowait, channel=channel)  # type: ignore[no-untyped-call]
        return self.name

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.name, self.exchange.name, self.routing_key))


class Delayed(Bound):
    """A queue with its way through the delays: none takes a job that would not come out."""

    def declare(self, nowait: bool = False, channel: Any = None) -> Any:
        """Declare the queue, and bind it to where delays end."""
        channel = channel or self.channel
        name = super().declare(nowait=nowait, channel=channel)
        channel.exchange_bind(destination=catalogue.EXCHANGE, source=DUE, routing_key=f"#.{self.name}")
        self.bind_to(catalogue.EXCHANGE, f"#.{self.name}", channel=channel)  # type: ignore[no-untyped-call]
        return name


def private_exchange(stands_for: Any = None) -> Any:
    """Return the kit's own exchange, whose every key is a queue's name.

    :param stands_for: Celery's default exchange, whose place it takes.
    """
    exchange = Exchange(catalogue.EXCHANGE, "topic")  # type: ignore[no-untyped-call]
    setattr(exchange, _STANDS_FOR, stands_for)
    return exchange


def stands_for(exchange: Any) -> Any:
    """Return Celery's default exchange whose place ``exchange`` takes, if it does."""
    return getattr(exchange, _STANDS_FOR, None)


def by_name(queue: Any, kind: type[Bound] = Bound) -> Bound:
    """Return a queue as the kit's own exchange reaches it."""
    return _reached(queue, private_exchange(), queue.name, kind)


def is_named(queue: Any) -> bool:
    """Say whether the kit's own exchange may reach a queue: a broadcast has as many as there are workers."""
    return queue is not None and not isinstance(queue, Broadcast)


def imply(queue: Any, exchange: Any, key: str) -> None:
    """Give a queue of which the app names no exchange the kit's own; Celery's is noted, for whoever names it.

    One with bindings of its own has those alone in Celery, too: Kombu drops the exchange.
    """
    if not hasattr(queue, _STOCK):
        told = None if queue.bindings else Binding(exchange, key)  # type: ignore[no-untyped-call]
        setattr(queue, _STOCK, told)
    queue.exchange, queue.routing_key = private_exchange(), queue.name


def stock(queue: Any) -> Bound | None:
    """Return a queue as Celery would bind it, if the app names no exchange for it."""
    told = getattr(queue, _STOCK, None)
    return _reached(queue, told.exchange, told.routing_key, Bound) if told and told.exchange.name else None


def bound(queue: Any) -> list[Bound]:
    """Return a queue once for each exchange that is to reach it: the kit's, where the app names none."""
    if is_implied(queue):
        return [by_name(queue)]
    return [_reached(queue, told.exchange, told.routing_key, Bound) for told in _bindings(queue) if told.exchange]


def is_implied(queue: Any) -> bool:
    """Say whether the app names no exchange for a queue."""
    return hasattr(queue, _STOCK)


def of_key(routing_key: str) -> str:
    """Return what a routing key was before a delay."""
    return _BITS.sub("", routing_key, count=1)


def leading(queues: Iterable[Any], exchange: str, routing_key: str) -> list[Any]:
    """Return those of ``queues`` that get a message of this exchange and routing key."""
    return [
        queue
        for queue in queues
        if is_named(queue) and any(_matches(each, exchange, routing_key) for each in _bindings(queue))
    ]


def _reached(queue: Any, exchange: Any, key: str, kind: type[Bound]) -> Bound:
    kept = {name: getattr(queue, name) for name in _KEPT}
    return kind(queue.name, exchange, key, **kept)


def _bindings(queue: Any) -> Iterator[Any]:
    if queue.exchange:
        yield Binding(queue.exchange, queue.routing_key)  # type: ignore[no-untyped-call]
    if told := getattr(queue, _STOCK, None):
        yield told
    yield from queue.bindings


def _matches(told: Any, exchange: str, routing_key: str) -> bool:
    if not told.exchange or told.exchange.name != exchange:
        return False
    if told.exchange.type == "topic":
        return bool(_pattern(told.routing_key or "").fullmatch(f".{routing_key}"))
    return bool(told.exchange.type == "fanout" or told.routing_key == routing_key)


def _pattern(binding_key: str) -> re.Pattern[str]:
    """Return a topic's pattern as a regular expression of a key with a dot before each of its words."""
    words = {"*": r"\.[^.]*", "#": r"(?:\.[^.]*)*"}
    return re.compile("".join(words.get(word, rf"\.{re.escape(word)}") for word in binding_key.split(".")))
