"""Celery on RabbitMQ: quorum queues on the kit's exchange, delays in the broker, publishing with a time limit."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import celery.app.amqp
import celery.app.base
from amqp.exceptions import NotFound
from celery.utils.quorum_queues import detect_quorum_queues
from kombu.entity import Exchange
from kombu.exceptions import OperationalError
from kombu.messaging import Producer as KombuProducer
from kombu.transport import native_delayed_delivery
from kombu.utils.objects import cached_property
from kombu.utils.text import version_string_as_tuple

from celerykit import releases
from celerykit.brokers import catalogue, routes, tls
from celerykit.brokers.routes import DELAYED
from celerykit.brokers.sender import Sender, delayed_key
from celerykit.compat import app_settings
from celerykit.config.settings import patience
from celerykit.errors import look_up

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

STOCK_CLASS = "celery.app.amqp:AMQP"
CLASS = "celerykit.brokers.rabbitmq:AMQP"
OLDEST = (3, 10)
"""The first release whose quorum queues delay messages."""
REMEDIES = {
    r"Login was refused": "Give the user and password that RabbitMQ knows, URL-encoded, in CELERY_BROKER_URL",
    r"vhost .* not found": "Make the virtual host, or mend the name at the end of CELERY_BROKER_URL",
    r"access to vhost": "Give the user rights in the virtual host, or mend the name at the end of CELERY_BROKER_URL",
    r"access to \w+ '.*' .* refused": "Give the user the missing right, or name a user with it in CELERY_BROKER_URL",
    r"inequivalent arg": "It was made otherwise: empty and delete it, name another, or give the same in task_queues; "
    "task_default_queue_type and task_create_missing_queue_type set the kit's own arguments",
    r"exclusive access to locked queue '.*pidbox'": "Another worker has this name, or had until a moment ago: give "
    "each machine a host name of its own, or each worker one in CELERY_WORKER_HOSTNAME",
    r"^RabbitMQ [\d.]+ ": "Upgrade it to 3.10 or later",
}
"""The remedy for each message of RabbitMQ, by a regular expression."""
AGAIN = "celerykit-again-"
"""Prefix of the last word of a routing key that leads a delayed message to a single queue."""
LONGEST_KEY = 255
"""The most characters that AMQP allows in a routing key."""


def install(app: Any) -> None:
    """Set the kit's AMQP class on ``app``, unless the app has a class of its own."""
    if app.amqp_cls == STOCK_CLASS:
        app.amqp_cls = CLASS
        # The first send_task() of a producer creates app.amqp before it loads the loader.
        if type(early := vars(app).get("amqp")) is celery.app.amqp.AMQP:
            early.__class__ = AMQP
    # Celery cuts the fraction off, and refuses the 0 that is left of a delay below a second.
    celery.app.base.calculate_routing_key = delayed_key
    # Celery chooses the delay before it knows the queue; the kit's sender chooses it afterwards.
    celery.app.base.detect_quorum_queues = found_by_celery


def remedy(problem: str) -> str:
    """Return the remedy for an error of RabbitMQ, an empty string for any other error."""
    return look_up(REMEDIES, problem)


def require_version(connection: Any) -> None:
    """Verify that the server of an open connection is RabbitMQ 3.10 or later, or another broker.

    :raises RuntimeError: if it is an older RabbitMQ.
    """
    properties = getattr(connection.connection, "server_properties", {})
    version = properties.get("version", "") if properties.get("product") == "RabbitMQ" else ""
    if version and version_string_as_tuple(version) < OLDEST:
        raise RuntimeError(f"RabbitMQ {version} cannot keep jobs in quorum queues until they are due")


def found_by_celery(app: Any, driver_type: str) -> tuple[bool, str]:
    """Return Celery's own answer for a stock AMQP class; with the kit's class, Celery is to delay no job itself."""
    return (False, "") if isinstance(app.amqp, AMQP) else detect_quorum_queues(app, driver_type)


def way_back(app: Any, connection: Any, queue: str, seconds: float) -> tuple[str, str]:
    """Return the exchange and routing key that lead a message to ``queue`` alone after ``seconds``.

    Where the broker cannot delay the message, they lead it there at once, and a worker waits.

    :param connection: an open :class:`kombu.Connection`.
    """
    return (seconds and way_later(app, connection, queue, seconds)) or ("", queue)


def way_later(app: Any, connection: Any, queue: str, seconds: float) -> tuple[str, str] | None:
    """Return the exchange and routing key of the delay as in :func:`way_back`, None where the broker cannot delay."""
    word = f"{AGAIN}{quote(queue).replace('.', '%2E')}"
    fits = LONGEST_KEY - 2 * native_delayed_delivery.MAX_NUMBER_OF_BITS_TO_USE
    if len(word) > fits or not keeps_delays(app, connection) or not _bind(connection, queue, word):
        return None
    return DELAYED, delayed_key(int(seconds), word)


def keeps_delays(app: Any, connection: Any) -> bool:
    """Say whether the broker delays messages, and no queue of the app is bound to every delayed message."""
    if not detect_quorum_queues(app, connection.transport.driver_type)[0]:
        return False
    return not any(set(queue.routing_key or "-") <= set("#*.") for queue in app.amqp.queues.values())


def _bind(connection: Any, queue: str, word: str) -> bool:
    """Bind ``queue`` to the messages delayed under ``word``; a repeated call changes nothing."""
    try:
        with connection.channel() as channel:
            channel.queue_bind(queue, routes.DUE, f"#.{word}")
    except connection.channel_errors as exc:  # the delay exchanges are missing, or the user lacks the right
        logger.debug("a job of queue %s waits in a worker instead of in RabbitMQ: %r", queue, exc)
        return False
    return True


def entangled(names: set[str]) -> Iterator[tuple[str, str]]:
    """Yield each pair of queues where the second also gets the first's jobs: delay bindings match the end of a name."""
    for name in sorted(names):
        yield from ((name, other) for other in sorted(names) if name.endswith(f".{other}"))


class Queues(celery.app.amqp.Queues):  # type: ignore[misc]
    """Celery's queues; a queue without an exchange of its own becomes a quorum queue on the kit's exchange."""

    def new_missing(self, name: str) -> Any:
        """Make the queue of a name without a definition; Celery gives each an exchange of its own."""
        queue = super().new_missing(name)
        if releases.lacks("queue types") and self.create_missing_queue_type == catalogue.QUORUM:
            queue.queue_arguments = {"x-queue-type": catalogue.QUORUM}
        if self._is_implied(queue):
            routes.imply(queue, Exchange(name), name)  # type: ignore[no-untyped-call]
        return queue

    def __setitem__(self, name: str, queue: Any) -> None:
        if self._is_implied(queue):
            stock = routes.stands_for(self.default_exchange)
            routes.imply(queue, stock, queue.routing_key or self.default_routing_key)
            if self.create_missing_queue_type == catalogue.QUORUM and queue.durable and not queue.auto_delete:
                queue.queue_arguments = {"x-queue-type": catalogue.QUORUM, **(queue.queue_arguments or {})}
        super().__setitem__(name, queue)

    def _is_implied(self, queue: Any) -> bool:
        """Say whether a queue has no exchange of its own, and the kit's exchange replaces Celery's."""
        default = self.default_exchange
        return routes.stands_for(default) is not None and (not queue.exchange or queue.exchange == default)


class Producer(KombuProducer):
    """A producer that waits for RabbitMQ for at most ``Settings.patience`` seconds.

    A node short of memory or disk stops reading messages, and so never answers a close either. Each retry would leave
    one more copy for the node to read later. After a lost connection, Celery's own retries send the job again.
    """

    def _publish(self, *args: Any, **options: Any) -> Any:
        opened = self.channel.connection  # opens the connection, with Celery's retries
        if self.connection.transport.driver_type != "amqp" or not getattr(opened, "connected", False):
            return super()._publish(*args, **options)  # type: ignore[no-untyped-call]
        with answered(self.connection):
            return self._publish_routed(*args, **options)

    def _publish_routed(self, *args: Any, **options: Any) -> Any:
        """Publish a message; raise if it must reach a queue and the server has returned it."""
        returned: list[Exception] = []
        listeners = self.channel.events["basic_return"]

        def take_back(exc: Exception, *_: Any) -> None:
            returned.append(exc)

        listeners.add(take_back)
        try:
            answer = super()._publish(*args, **options)  # type: ignore[no-untyped-call]
            if returned:  # the queue may have been deleted since this connection declared it
                returned.clear()
                self.connection.declared_entities.clear()
                answer = super()._publish(*args, **options)  # type: ignore[no-untyped-call]
        finally:
            listeners.discard(take_back)
        if returned:
            raise NotFound(f"no queue takes it: {returned[0]}")
        return answer


@contextmanager
def answered(connection: Any) -> Iterator[None]:
    """Limit the wait for each answer of RabbitMQ; do nothing for other brokers and lost connections.

    :param connection: a :class:`kombu.Connection`.
    :raises kombu.exceptions.OperationalError: if RabbitMQ has not answered in time.
    """
    opened = connection._connection
    if connection.transport.driver_type != "amqp" or not getattr(opened, "connected", False):
        yield
        return
    try:
        with opened.transport.having_timeout(patience()):
            yield
    except TimeoutError as exc:
        connection.collect()
        raise OperationalError(
            f"RabbitMQ has not confirmed the message within {patience():g} s, for want of memory, disk or "
            "network, and may deliver it yet"
        ) from exc


class AMQP(celery.app.amqp.AMQP):  # type: ignore[misc]
    """Celery's messaging with the kit's connections, queues and producers."""

    Connection = tls.Connection
    queues_cls = Queues
    Producer = Producer

    @cached_property
    def default_exchange(self) -> Any:
        """Return the exchange of queues without one of their own: the kit's, where Celery's is direct.

        An app's own topic exchange stays, because its routing keys have a meaning.
        """
        stock = super().default_exchange
        if not catalogue.is_rabbitmq(self.app) or self.is_left_alone or stock.type != "direct":
            return stock
        return routes.private_exchange(stock)

    @property
    def is_left_alone(self) -> bool:
        """Whether the app sets name and type of its default exchange, and the type is direct."""
        conf = self.app.conf
        both_set = all(app_settings.is_set(conf, f"task_default_exchange{part}") for part in ("", "_type"))
        return both_set and conf.task_default_exchange_type == "direct"

    def autoexchange(self, name: str) -> Any:
        """Return the exchange of a queue that only ``-Q`` or a route names."""
        default = self.default_exchange
        return default if routes.stands_for(default) else Exchange(name)  # type: ignore[no-untyped-call]

    def Queues(self, *args: Any, **options: Any) -> Any:  # noqa: N802  # Celery's name
        """Return queues of the type in the settings."""
        self.queues_cls = app_settings.typed(Queues, self.app.conf)
        return super().Queues(*args, **options)

    def _create_task_sender(self) -> Any:
        return Sender(self, super()._create_task_sender())

    @property
    def producer_pool(self) -> Any:
        """The pool from which every job is sent."""
        pool = super().producer_pool
        pool.Producer = Producer
        return pool
