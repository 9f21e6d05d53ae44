"""What a worker declares on RabbitMQ beside its queues: the ways by which jobs get there, at once or delayed."""

from __future__ import annotations

import logging
from typing import Any

from amqp.exceptions import ChannelError
from celery.utils.quorum_queues import detect_quorum_queues
from celery.worker.consumer.delayed_delivery import DelayedDelivery
from kombu.transport.native_delayed_delivery import (
    bind_queue_to_native_delayed_delivery_exchange,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from celerykit.brokers import rabbitmq, routes

logger = logging.getLogger(__name__)


class Routing(DelayedDelivery):  # type: ignore[misc]
    """Celery's step that prepares delays, for each queue by itself, and Celery's own exchanges beside the kit's."""

    name = "celerykit.worker.routing.Routing"

    def include_if(self, c: Any) -> bool:
        """Take part on RabbitMQ alone."""
        return bool(c.app.connection_for_write().transport.driver_type == "amqp")

    def start(self, c: Any) -> None:
        """Declare and bind; what the server refuses is said, and no reason not to work."""
        if detect_quorum_queues(c.app, "amqp")[0]:
            super().start(c)
        for queue in list(c.app.amqp.queues.consume_from.values()):
            bind_as_celery_does(c.connection, queue)

    def _setup_delayed_delivery(self, c: Any, broker_url: str) -> None:
        with c.app.connection_for_write(url=broker_url) as connection:
            kind = c.app.conf.broker_native_delayed_delivery_queue_type
            try:
                declare_native_delayed_delivery_exchanges_and_queues(connection, kind)
            except ChannelError as exc:  # they are there, made otherwise or by somebody who may
                logger.warning("the queues of delayed jobs are left as they are: %s", exc)
            self._bind_queues(c.app, connection)

    def _bind_queues(self, app: Any, connection: Any) -> None:
        for queue in list(app.amqp.queues.values()):
            try_to_bind(connection, queue)


def add(app: Any, connection: Any, queue: Any) -> None:
    """Do for one queue, from which a worker begins to consume, what :class:`Routing` does for those of its start."""
    bind_as_celery_does(connection, queue)
    if detect_quorum_queues(app, "amqp")[0]:
        try_to_bind(connection, queue)


def try_to_bind(connection: Any, queue: Any) -> None:
    """Bind a queue to where delays end, or say that it is not: the next one is not to go without.

    :raises OSError: if the connection breaks.
    """
    if not routes.is_named(queue) or queue.exclusive or queue.no_declare:
        return
    try:
        bind_to_delays(connection, queue)
    except OSError:  # which Celery tries again
        raise
    except Exception as exc:  # whatever the server refuses
        logger.warning("workers hold delayed jobs of queue %r: %s. %s", queue.name, exc, rabbitmq.remedy(str(exc)))


def bind_to_delays(connection: Any, queue: Any) -> None:
    """Declare a queue, as senders do, and bind it to where delays end."""
    with connection.channel() as channel:
        queue(channel).declare()
        routes.by_name(queue, routes.Delayed)(channel).declare()
        ways = [queue] if queue.exchange else [*queue.bindings]
        kinds = {way.exchange.type for way in ways}
        if routes.is_implied(queue) or "direct" in kinds:
            return
        # Producers without the kit delay by the keys of its exchange.
        if "headers" not in kinds:
            bind_queue_to_native_delayed_delivery_exchange(connection, queue)
            return
        for way in ways:  # Celery would bind the queue by the key alone, too, and whatever is sent would reach it
            way.exchange(channel).bind_to(routes.DUE, routing_key=f"#.{way.routing_key}")


def bind_as_celery_does(connection: Any, queue: Any) -> None:
    """Bind a queue to the exchange that it has without the kit, for whoever names that."""
    stock = routes.stock(queue)
    if stock is None:
        return
    try:
        with connection.channel() as channel:
            stock.exchange(channel).declare()  # type: ignore[no-untyped-call]
    except ChannelError as exc:
        logger.info("exchange %r is left as it is: %s", stock.exchange.name, exc)
    try:
        with connection.channel() as channel:
            stock(channel).queue_bind()  # type: ignore[no-untyped-call]
    except ChannelError as exc:
        logger.warning(
            "jobs that are sent to exchange %r with key %r do not reach queue %r: %s. %s",
            stock.exchange.name,
            stock.routing_key,
            stock.name,
            exc,
            rabbitmq.remedy(str(exc)),
        )
