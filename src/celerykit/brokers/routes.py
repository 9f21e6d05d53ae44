"""The bindings that lead a job into its queue on RabbitMQ: Celery's own, and the kit's by the queue's name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from amqp.exceptions import NotFound
from kombu.common import Broadcast
from kombu.entity import Exchange, Queue
from kombu.entity import binding as Binding  # noqa: N812  # a class in spite of its name
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
    """A queue with one of the exchanges that it is bound to.

    A connection remembers its declared queues, and Kombu compares them by name alone.
    """

    def declare(self, nowait: bool = False, channel: Any = None) -> Any:
        """Declare the queue, then bind it, and declare its exchange if that is missing.

        An exchange without its queue would accept jobs, and drop them.
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
    """A queue bound to the end of the delays, so that no delayed job is dropped there."""

    def declare(self, nowait: bool = False, channel: Any = None) -> Any:
        """Declare the queue, and bind it to the exchange where delays end."""
        channel = channel or self.channel
        name = super().declare(nowait=nowait, channel=channel)
        channel.exchange_bind(destination=catalogue.EXCHANGE, source=DUE, routing_key=f"#.{self.name}")
        self.bind_to(catalogue.EXCHANGE, f"#.{self.name}", channel=channel)  # type: ignore[no-untyped-call]
        return name


def private_exchange(stands_for: Any = None) -> Any:
    """Return the kit's own exchange; its routing keys are names of queues.

    :param stands_for: Celery's default exchange, which it replaces.
    """
    exchange = Exchange(catalogue.EXCHANGE, "topic")  # type: ignore[no-untyped-call]
    setattr(exchange, _STANDS_FOR, stands_for)
    return exchange


def stands_for(exchange: Any) -> Any:
    """Return Celery's default exchange that ``exchange`` replaces, None if it replaces none."""
    return getattr(exchange, _STANDS_FOR, None)


def by_name(queue: Any, kind: type[Bound] = Bound) -> Bound:
    """Return a queue bound to the kit's own exchange by its name."""
    return _reached(queue, private_exchange(), queue.name, kind)


def is_named(queue: Any) -> bool:
    """Say whether the kit's own exchange may reach a queue: a broadcast has one queue for each worker."""
    return queue is not None and not isinstance(queue, Broadcast)


def imply(queue: Any, exchange: Any, key: str) -> None:
    """Bind a queue without an exchange of its own to the kit's, and keep Celery's for senders that name it.

    A queue with bindings of its own gets no other in Celery either: Kombu drops the exchange.
    """
    if not hasattr(queue, _STOCK):
        binding = None if queue.bindings else Binding(exchange, key)  # type: ignore[no-untyped-call]
        setattr(queue, _STOCK, binding)
    queue.exchange, queue.routing_key = private_exchange(), queue.name


def stock(queue: Any) -> Bound | None:
    """Return a queue with the binding that Celery would give it, None if it has an exchange of its own."""
    binding = getattr(queue, _STOCK, None)
    return _reached(queue, binding.exchange, binding.routing_key, Bound) if binding and binding.exchange.name else None


def bound(queue: Any) -> list[Bound]:
    """Return one copy of a queue for each of its bindings: the kit's alone, where the app names none."""
    if is_implied(queue):
        return [by_name(queue)]
    return [
        _reached(queue, binding.exchange, binding.routing_key, Bound)
        for binding in _bindings(queue)
        if binding.exchange
    ]


def is_implied(queue: Any) -> bool:
    """Say whether the app names no exchange for a queue."""
    return hasattr(queue, _STOCK)


def of_key(routing_key: str) -> str:
    """Return a routing key without the bits of its delay."""
    return _BITS.sub("", routing_key, count=1)


def leading(queues: Iterable[Any], exchange: str, routing_key: str) -> list[Any]:
    """Return the queues among ``queues`` that get a message of this exchange and routing key."""
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
    if binding := getattr(queue, _STOCK, None):
        yield binding
    yield from queue.bindings


def _matches(binding: Any, exchange: str, routing_key: str) -> bool:
    if not binding.exchange or binding.exchange.name != exchange:
        return False
    if binding.exchange.type == "topic":
        return bool(_pattern(binding.routing_key or "").fullmatch(f".{routing_key}"))
    return bool(binding.exchange.type == "fanout" or binding.routing_key == routing_key)


def _pattern(binding_key: str) -> re.Pattern[str]:
    """Return a topic's pattern as a regular expression of a key with a dot before each of its words."""
    words = {"*": r"\.[^.]*", "#": r"(?:\.[^.]*)*"}
    return re.compile("".join(words.get(word, rf"\.{re.escape(word)}") for word in binding_key.split(".")))
