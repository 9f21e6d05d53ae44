"""Sends a job by an exchange that exists and leads to a queue."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from amqp.exceptions import AccessRefused, NotFound
from celery.utils.quorum_queues import detect_quorum_queues
from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.transport.native_delayed_delivery import calculate_routing_key

from celerykit.brokers import catalogue, routes

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

REMEMBERED = 60.0
"""Seconds before a refused way is tried again."""
ROUNDING = 0.05
"""Seconds that may pass between Celery's computation of an ETA and the send."""
DIRECT = (None, "direct")
WITHOUT_EXCHANGES = ("pgmq", "redis")
"""Brokers without exchanges: Kombu emulates them in the process that sends."""


class Sender:
    """Celery's function that sends a job, with Celery's meaning of exchange, routing key and queue.

    Celery sends to a queue of a direct exchange through the default exchange. The kit uses its own exchange instead:
    that exchange can delay a job, and a producer needs no right to write into every queue.
    """

    def __init__(self, amqp: Any, send: Any):
        self._amqp = amqp
        self._send = send
        self._refused: dict[Any, tuple[int, float]] = {}

    def __call__(self, producer: Any, name: str, message: Any, **options: Any) -> Any:
        """Send a job by the first way that the server accepts.

        :raises amqp.exceptions.NotFound: if the named exchange neither exists nor is declared by the app.
        :raises amqp.exceptions.AccessRefused: if the user lacks a right that the first way needs.
        :raises LookupError: on Redis and PGMQ, if no queue takes the job.
        """
        if producer.connection.transport.driver_type in WITHOUT_EXCHANGES:
            return self._send(producer, name, message, **self._known_to_this_process(options))
        if producer.connection.transport.driver_type != "amqp":
            return self._send(producer, name, message, **options)
        options = self._completed(options)
        ways = [*self._ways(options, message)]
        place = (str(options["queue"]), _name(options["exchange"]), options["routing_key"], len(ways))
        problems: list[Exception] = []
        for number in range(self._first(place), len(ways)):
            try:
                return self._send(producer, name, message, **ways[number])
            except (AccessRefused, NotFound) as exc:
                problems.append(exc)
                self._refuse(place, number + 1, ways, exc)
        raise problems[0]

    def _known_to_this_process(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` for a broker without exchanges: each process knows only those that it has declared."""
        exchange, key = _name(options.get("exchange")), options.get("routing_key")
        extended = self._unless_nobody_listens(options)
        if exchange and key and options.get("declare") is None:
            # Celery adds the default queue even when the exchange does not lead to it.
            extended["declare"] = routes.leading(self._amqp.queues.values(), exchange, key) or None
        return extended

    def _unless_nobody_listens(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` that make the server report a job that reaches no queue: no worker would ever run it.

        A broadcast may reach no queue, if no worker listens.
        """
        exchange, queue = options.get("exchange"), options.get("queue")
        if isinstance(queue, str):
            queue = self._amqp.queues.get(queue)
        queues = [queue, *self._amqp.queues.values()]
        exchanges = [exchange, *(options.get("declare") or ()), *(getattr(each, "exchange", None) for each in queues)]
        fanouts = {_name(each) for each in exchanges if getattr(each, "type", "") == "fanout"}
        name = _name(exchange) or _name(getattr(queue, "exchange", None))
        is_for_all = options.get("exchange_type") == "fanout" or name in fanouts
        return {**options} if is_for_all else {**options, "mandatory": True}

    def _completed(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` with the queue as an object, or the default queue where Celery would send to none."""
        queue, exchange, key = (options.get(name) for name in ("queue", "exchange", "routing_key"))
        if isinstance(queue, str):
            queue = self._amqp.queues[queue]
        kept = _name(exchange) in {catalogue.EXCHANGE, routes.DUE} and routes.of_key(key or "")
        if kept and kept in self._amqp.queues:  # a job that was sent by the kit's exchange, and is sent once more
            queue, exchange, key = self._amqp.queues[kept], None, None
        elif queue is None and not (_name(exchange) and key) and options.get("exchange_type") in DIRECT:
            queue = self._amqp.default_queue
        return {**options, "queue": queue, "exchange": exchange, "routing_key": key}

    def _ways(self, options: dict[str, Any], message: Any) -> Iterator[dict[str, Any]]:
        seconds = self._delay(message)
        if seconds > 0 and detect_quorum_queues(self._amqp.app, "amqp")[0]:
            retry = bool((message.headers or {}).get("retries"))
            queue = self._queue_to_wait_for(options, retry=retry)
            if queue is not None:
                yield _through(queue, options, routes.DELAYED, _delayed_key(seconds, queue.name), routes.Delayed)
        if self._is_for_a_name(options):
            queue = options["queue"]
            extended = {**options, "mandatory": True} if self._is_confirmed else options
            yield _through(queue, extended, catalogue.EXCHANGE, queue.name, routes.Bound)
        else:
            yield from self._ways_of_exchange(options)

    def _ways_of_exchange(self, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        queue, exchange, key = options["queue"], _name(options["exchange"]), options["routing_key"]
        declared = options.get("declare")
        if declared is None and routes.is_named(queue):
            declared = routes.bound(queue)
        queues = routes.leading(self._amqp.queues.values(), exchange, key) if exchange and key else []
        extended = options
        if self._is_confirmed:  # RabbitMQ would drop a job without a queue, and report nothing
            extended = {**options, "mandatory": True} if queues else self._unless_nobody_listens(options)
        yield {**extended, "declare": declared}
        if options.get("declare") is None and declared:
            yield {**extended, "declare": []}  # for a user without the right to bind: the workers have bound the queue
        if routes.is_named(queue) and not exchange:
            yield _through(queue, options, catalogue.EXCHANGE, queue.name, routes.Bound)
        elif len(queues) == 1:
            yield _through(queues[0], options, catalogue.EXCHANGE, queues[0].name, routes.Bound)
        elif queues:
            yield {
                **options,
                "declare": [each for one in queues for each in (routes.stock(one), *routes.bound(one)) if each],
            }

    @property
    def _is_confirmed(self) -> bool:
        """Whether the server confirms each message, and so reports an undeliverable one at once."""
        return bool((self._amqp.app.conf.broker_transport_options or {}).get("confirm_publish"))

    def _is_for_a_name(self, options: dict[str, Any]) -> bool:
        """Say whether Celery would send a job with these options directly to its queue."""
        queue, exchange, key = options["queue"], _name(options["exchange"]), options["routing_key"]
        if not routes.is_named(queue) or (exchange and key) or self._amqp.is_left_alone:
            return False
        direct = options.get("exchange_type") in DIRECT
        if routes.is_implied(queue):
            return direct or not exchange
        return direct and (not queue.exchange or queue.exchange.type == "direct")

    def _queue_to_wait_for(self, options: dict[str, Any], *, retry: bool) -> Any:
        """Return the queue to which RabbitMQ delivers a delayed job, None unless it is a single queue."""
        queue, exchange, key = options["queue"], _name(options["exchange"]), options["routing_key"]
        if exchange and key:
            queues = routes.leading(self._amqp.queues.values(), exchange, key)
            # A topic addresses all its queues; a retry goes to the queue of the failed job alone.
            alone = len(queues) == 1 and (retry or routes.is_implied(queues[0]) or queues[0].exchange.type == "direct")
            return queues[0] if alone else None
        if not routes.is_named(queue) or exchange:
            return queue if self._is_for_a_name(options) else None
        return queue if not queue.exchange or queue.exchange.type in {"direct", "topic"} else None

    def _delay(self, message: Any) -> float:
        eta = (message.headers or {}).get("eta") or (isinstance(message.body, dict) and message.body.get("eta"))
        if not eta:
            return 0.0
        due = maybe_make_aware(maybe_iso8601(eta), tz=self._amqp.app.timezone)
        return float((due - datetime.now(timezone.utc)).total_seconds())

    def _first(self, place: Any) -> int:
        number, until = self._refused.get(place, (0, 0.0))
        return number if time.monotonic() < until else 0

    def _refuse(self, place: Any, number: int, ways: list[dict[str, Any]], exc: Exception) -> None:
        if number == len(ways):
            return
        if ways[number - 1]["exchange"] == routes.DELAYED:
            logger.warning(
                "RabbitMQ cannot delay jobs for queue %r: %s. A worker holds them until they are due. Start a worker "
                "that may declare and bind the queue.",
                ways[number - 1]["queue"].name,
                exc,
            )
        if len(self._refused) > 1000:
            self._refused.clear()
        self._refused[place] = number, time.monotonic() + REMEMBERED


def delayed_key(countdown: int, routing_key: str) -> str:
    """Return the routing key that delays a message by ``countdown`` seconds, by 1 s at least."""
    return calculate_routing_key(max(1, countdown), routing_key)


def _delayed_key(seconds: float, name: str) -> str:
    return delayed_key(int(seconds + ROUNDING), name)


def _through(queue: Any, options: dict[str, Any], exchange: str, key: str, kind: type[routes.Bound]) -> dict[str, Any]:
    declared = options.get("declare")
    declared = [routes.by_name(queue, kind)] if declared is None else declared
    return {**options, "queue": queue, "exchange": exchange, "routing_key": key, "declare": declared}


def _name(exchange: Any) -> str:
    return getattr(exchange, "name", exchange) or ""
