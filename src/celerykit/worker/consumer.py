"""Celery's consumer, telling of its progress where the event loop cannot, and starting where nobody may publish."""

from __future__ import annotations

import functools
import logging
import time
from typing import TYPE_CHECKING, Any

from celery.app.task import Task
from celery.concurrency.solo import TaskPool as Solo
from celery.worker import state
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer.mingle import Mingle
from kombu.exceptions import OperationalError

from celerykit import releases
from celerykit.brokers import rabbitmq, reconnect
from celerykit.compat import worker_loop
from celerykit.errors import EX_CONFIG, ConfigurationError
from celerykit.worker import acknowledgement, eta, inflight, returns, routing, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

SETTLE = frozenset({"ack_log_error", "reject_log_error"})
"""Methods of a message that settle it."""
CLOSING = 5.0
"""Seconds that a broken connection may hold up its own end, each time it is asked: Celery's own."""
PAUSE = 2.0
"""Seconds between two attempts at what was refused."""
SLICE = 0.2
"""Seconds for which a pause does not notice that the worker is to stop."""


class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc]
    """Celery's steps, with the kit's own where delays are prepared."""

    default_steps = tuple(
        f"{routing.__name__}:{routing.Routing.__name__}" if step.endswith(":DelayedDelivery") else step
        for step in CeleryConsumer.Blueprint.default_steps
    )


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """The consumer of every worker under the kit's settings (``worker_consumer``)."""

    Blueprint = Blueprint
    loss = ""
    """What is to be said of why the connection was lost."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._rest = reconnect.Rest()
        self._timers = worker_loop.Timers(self)
        self._waker = worker_loop.Waker() if self.hub is not None and releases.lacks("acks at once") else None
        for step in self.steps:
            if isinstance(step, Mingle):
                step.send_hello = forgiving(step.send_hello)

    def start(self) -> None:
        """Consume; what is found to be wrong only now, as rights on Redis, ends the worker as it would have before."""
        try:
            super().start()
        except ConfigurationError as exc:
            for finding in exc.findings:
                logger.critical("%s", finding)
            raise SystemExit(EX_CONFIG) from exc

    def update_strategies(self) -> None:
        """Prepare each task for its jobs; one that has a class of requests of its own gets the kit's below it."""
        for task in tuple(self.app.tasks.values()):
            if task.Request is not Task.Request:
                task.Request = acknowledgement.with_ours(task.Request)
        super().update_strategies()

    def connect(self) -> Any:
        """Connect; what is timed from now on, until the worker is ready, is so for this connection."""
        self._timers.connecting()
        return super().connect()

    def register_with_event_loop(self, hub: Any) -> None:
        """Have the event loop hear of what other threads put into it."""
        if self._waker is not None:
            self._waker.watch(hub)
        super().register_with_event_loop(hub)

    def call_soon(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Call at the next turn of the loop, which comes at once; where Celery knows no better, acknowledge here."""
        if not releases.lacks("acks at once"):
            return super().call_soon(p, *args, **kwargs)
        if getattr(p, "__name__", "") in SETTLE and getattr(self.connection, "workplace", None) is not None:
            return p(*args, **kwargs)
        promise = super().call_soon(p, *args, **kwargs)
        if self._waker is not None:
            self._waker.wake()
        return promise

    def on_ready(self) -> None:
        """Let the handlers of ``worker_ready`` take their time, and say that it is they who do."""
        pulse = getattr(self.controller, "pulse", None)
        if pulse is not None and pulse.is_starting:
            pulse.starting("in the handlers of worker_ready")
        self._timers.connected()
        super().on_ready()

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        """Return what takes messages; jobs whose time has not come go back to a broker that keeps them until then."""
        return eta.putting_off(self, super().create_task_handler(*args, **options))

    def on_close(self) -> None:
        """Forget what does not run, and know before what does."""
        pool = getattr(self.pool, "_pool", None)
        if hasattr(pool, "handle_result_event"):  # prefork, on an event loop
            inflight.conclude(pool, self.hub)
        with worker_loop.kept(pool):
            super().on_close()

    def call_soon_ack(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Acknowledge at once where that only takes note of it, and in solo; Celery's waits for the loop's next turn.

        Solo runs a job with an ETA in a timer of the loop, which sleeps before its next turn. Nobody wakes it up: the
        broker sends the next job when this one is acknowledged.
        """
        if getattr(self.connection, "workplace", None) is None and not isinstance(self.pool, Solo):
            return super().call_soon_ack(p, *args, **kwargs)
        return p(*args, **kwargs)

    def add_task_queue(self, queue: Any, exchange: Any = None, *args: Any, **options: Any) -> None:
        """Consume from one more queue, which is as ``-Q`` would have made it where only its name is told."""
        queues = self.app.amqp.queues
        if exchange is None and queues.create_missing and queue not in queues:
            queues[queue]  # makes it
        super().add_task_queue(queue, exchange, *args, **options)
        if self.connection.transport.driver_type == "amqp":
            routing.add(self.app, self.connection, queues[queue])

    def on_connection_error_before_connected(self, exc: Any) -> None:
        """Say what RabbitMQ refuses, and how to mend it; somebody must do that first, so there is no hurry."""
        super().on_connection_error_before_connected(exc)
        self._advise(exc)

    def on_connection_error_after_connected(self, exc: Any) -> None:
        """Say what RabbitMQ refuses where it has let the worker in, but not to its queues."""
        self.loss = f": {exc}" if isinstance(exc, self.connection.channel_errors) else ""
        worker_loop.about_to_close(self, CLOSING)
        super().on_connection_error_after_connected(exc)
        worker_loop.close(self)
        self._advise(exc)
        end = time.monotonic() + self._rest.seconds()
        while time.monotonic() < end and state.should_stop is None and state.should_terminate is None:
            self._beat()
            time.sleep(SLICE)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Keep a message that is no job in the dead letters."""
        if self._kept(message, "it is not in the format of a job"):
            super().on_unknown_message(body, message)

    def on_unknown_task(self, body: Any, message: Any, exc: Any) -> None:
        """Keep a job of an unknown task in the dead letters: its sender was deployed alone, or has another app."""
        if self._kept(message, f"its worker knows no task {exc}"):
            super().on_unknown_task(body, message, exc)
            unknown.tell(self.app, self.timer, message)

    def on_invalid_task(self, body: Any, message: Any, exc: Any) -> None:
        """Keep a job whose arguments are none."""
        if self._kept(message, f"it cannot be read: {exc}"):
            super().on_invalid_task(body, message, exc)

    def on_decode_error(self, message: Any, exc: Any) -> None:
        """Keep a job that is written as this worker may not read, or has no library for."""
        if self._kept(message, f"it cannot be read: {exc!r}"):
            super().on_decode_error(message, exc)

    def perform_pending_operations(self) -> None:
        """Run what waits; where there is no event loop, this is called at each turn of the blocking one."""
        self._beat()
        super().perform_pending_operations()

    def _kept(self, message: Any, reason: str) -> bool:
        """Put what Celery is about to drop into the dead letters; where they take nothing, back into its queue."""
        try:
            settled = returns.bury(self.app, message, reason)
        except Exception as exc:  # whatever it is, nobody else has the job
            logger.warning("what cannot be run goes back to its queue, for the dead letters do not take it: %r", exc)
            message.reject_log_error(logger, self.connection_errors, requeue=True)
            return False
        told = message.headers or {}
        # Celery says next that it is discarded.
        logger.error("job %s[%s] is kept in the dead letters: %s", told.get("task"), told.get("id"), reason)
        if settled:
            message.ack = message.ack_log_error = _do_nothing
        message.reject_log_error = message.ack_log_error
        return True

    def _advise(self, exc: Any) -> None:
        if remedy := rabbitmq.remedy(str(exc)):
            logger.error("RabbitMQ refuses: %s. %s.", exc, remedy)
            self._beat()
            time.sleep(PAUSE)

    def _beat(self) -> None:
        pulse = getattr(self.controller, "pulse", None)
        if pulse is not None:
            pulse.beat()


def _do_nothing(*_: Any, **__: Any) -> None:
    """Settle a message that the broker has settled."""


def forgiving(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return ``ask`` (what the other workers know) with no answer where the broker takes no question.

    A broker that is short of memory needs workers that empty its queues, and takes nothing else.
    """

    @functools.wraps(ask)
    def send_hello(consumer: Any) -> Any:
        try:
            return ask(consumer)
        except OperationalError as exc:
            logger.warning("mingle: nobody was asked: %s", exc)
            return {}

    return send_hello
