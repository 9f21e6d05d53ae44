"""The worker's signs of life: alive while its main thread makes progress, ready while it consumes."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from celery import VERSION_BANNER, bootsteps, signals
from celery.worker import state

from celerykit import __version__, releases
from celerykit.brokers import catalogue, patience, reconnect
from celerykit.celery_app import meanings
from celerykit.celery_app.layer import layer_of
from celerykit.compat import app_settings
from celerykit.config import pool_kinds, settings
from celerykit.config.environment import DEFAULT_POOL
from celerykit.health import starting
from celerykit.health.watchdog import FOR_EVER, GRACE
from celerykit.messages import serialization

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)
#: These few lines are for the operator, whatever the worker's own log level is.
logger.setLevel(logging.INFO)


SET_LONGEST_JOB = "set CELERYKIT_LONGEST_JOB to more than the longest job and its wait for an ETA take"
SOON = 0.02
"""Seconds between two looks whether the broker has answered."""
THREADS = frozenset({"celery.concurrency.thread", "celerykit.worker.threads"})
"""Where pools are whose jobs run beside the main thread, in the same interpreter."""


class Vitals(bootsteps.StartStopStep):  # type: ignore[misc]
    """Gives the worker its :class:`~celerykit.health.watchdog.Pulse` and finds its progress."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any):
        super().__init__(worker, **options)
        self.settings = settings.from_environment(os.environ)
        pool = os.environ.get(settings.POOL) or DEFAULT_POOL
        worker.pulse = starting.pulse_of("worker", pool, self.settings)
        reconnect.watch(worker.app, worker.pulse.beat)
        reconnect.watch_results(worker.app, worker.pulse.beat)
        patience.install(worker.app)
        worker.app.events.dispatcher_cls = "celerykit.worker.events:Dispatcher"

    def start(self, worker: Any) -> None:
        """Begin to tell of progress; once the consumer's loop turns, a main thread without any ends the process."""
        self._pulse = worker.pulse
        worker.pulse.starting("connecting to the broker")
        if worker.hub is not None or worker.pool.is_green:
            # The loop's own timer: it fires when the loop turns, or when greenlets are switched. Elsewhere the timer is
            # a thread that would go on beside a stuck main thread, and the consumer tells instead.
            worker.timer.call_repeatedly(1.0, self._on_turn)
        slots = getattr(getattr(worker.pool, "_pool", None), "_putlock", None)
        if worker.hub is None and slots is not None:
            slots.acquire = telling(slots.acquire, worker.pulse.beat)
        if runs_jobs_inside(worker):
            signals.task_prerun.connect(self._on_job_start, weak=False)
            signals.task_postrun.connect(self._on_job_end, weak=False)
        if worker.pool_cls.__module__ in THREADS:
            worker.pulse.watch_beside_jobs()
        # The stop, too, is watched over: the file goes when everything has been stopped.
        signals.worker_shutdown.connect(self._on_shutdown, weak=False)
        logger.info("%s", start_line(worker, self.settings))
        if lacking := releases.shortcomings():
            logger.info("%s", lacking)
        late = self.settings.delivery != settings.AT_MOST_ONCE
        if late and self.settings.longest_job is None and catalogue.goes_by_time(worker.app, self.settings):
            held = self.settings.visibility_timeout
            logger.warning(
                "a job that has not ended %g s after it was fetched runs again meanwhile: %s", held, SET_LONGEST_JOB
            )
        kind = os.environ.get("CELERY_WORKER_POOL") or pool_kinds.PREFORK
        for text in meanings.without_effect(worker.app.conf, kind, self.settings.drain):
            logger.warning("%s", text)
        for finding in serialization.advice(worker.app, f"app {worker.app.main}"):
            logger.warning("%s", finding)

    def _on_turn(self) -> None:
        # Greenlets are switched during a start, too, which says nothing of its progress.
        if not self._pulse.is_starting:
            self._pulse.beat()

    def _on_shutdown(self, **_: Any) -> None:
        self._pulse.stop()

    def _on_job_start(self, task_id: str, task: Any, **_: Any) -> None:
        limit = (
            (task.request.timelimit or (None, None))[0]
            or app_settings.time_limit(task)
            or self.settings.longest_job
            or FOR_EVER
        )
        self._pulse.begin(task_id, limit + self.settings.stuck_after)

    def _on_job_end(self, task_id: str, **_: Any) -> None:
        self._pulse.end(task_id)


class Consuming(bootsteps.StartStopStep):  # type: ignore[misc]
    """Says when the worker is ready: connected and consuming; runs again at each reconnect."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    _waits: Any = None

    def start(self, consumer: Any) -> None:
        """Say so as soon as the loop, which asks the broker for jobs, has been entered, and been answered."""
        queues = ", ".join(sorted(consumer.app.amqp.queues.consume_from))
        consumer.call_soon(self._say_ready, consumer, f"consuming {queues}")

    def _say_ready(self, consumer: Any, reason: str) -> None:
        if consumer.connection is None:
            return
        if getattr(consumer.connection.transport, "is_served", True):
            consumer.controller.pulse.ready(reason)
        else:
            self._waits = consumer.timer.call_after(SOON, self._say_ready, (consumer, reason))

    def stop(self, consumer: Any) -> None:
        """Not ready: the broker is away, or the worker stops."""
        if self._waits is not None:
            self._waits.cancel()
        stopping = state.should_stop is not None or state.should_terminate is not None
        why = f"not consuming: the connection to the broker is lost{getattr(consumer, 'loss', '')}"
        consumer.controller.pulse.not_ready("stopping" if stopping else why)

    def shutdown(self, consumer: Any) -> None:
        """Say that this is the end and no outage."""
        consumer.controller.pulse.not_ready("stopping")


def telling(acquire: Callable[..., bool], beat: Callable[[], None]) -> Callable[..., bool]:
    """Return what waits for a slot of the pool, with signs of life: the main thread may for as long as a job lasts."""

    def acquire_slot(blocking: bool = True, timeout: float | None = None) -> bool:
        if not blocking or timeout is not None or threading.current_thread() is not threading.main_thread():
            return acquire(blocking, timeout)
        while not acquire(True, 1.0):
            beat()
        return True

    return acquire_slot


def start_line(worker: Any, own: settings.Settings) -> str:
    """Return the one line that says what this worker is and promises."""
    pool = worker.pool_cls.__module__.rpartition(".")[2]
    queues = ",".join(sorted(worker.app.amqp.queues.consume_from))
    return (
        f"worker {worker.hostname}: pool={pool} concurrency={worker.concurrency} ({_concurrency_reason(worker)}) "
        f"prefetch={worker.prefetch_multiplier} queues={queues} delivery={own.delivery} "
        f"stop_timeout={own.stop_timeout:g}s longest_job={_limit(own)} "
        f"celerykit={__version__} celery={VERSION_BANNER}"
    )


def _limit(own: settings.Settings) -> str:
    return "unlimited" if own.longest_job is None else f"{own.longest_job:g}s"


def _concurrency_reason(worker: Any) -> str:
    layer = layer_of(worker.app.conf)
    if layer and layer.tuning and (tuned := layer.tuning.why("concurrency")):
        return f"tuned: {tuned}"
    given = os.environ.get("CELERY_WORKER_CONCURRENCY")
    if given == "auto":
        return "auto: affinity and cgroup CPU quota"
    if given:
        return "CELERY_WORKER_CONCURRENCY"
    if worker.app.conf.worker_concurrency:
        return "the app's worker_concurrency"
    return "the number of CPUs"


def runs_jobs_inside(worker: Any) -> bool:
    """Say whether jobs run in the worker's own process: one that holds it up must not pass for its being stuck."""
    return not worker.pool_cls.__module__.endswith(".prefork")


def longest_silence(worker: Any) -> float:
    """Return the seconds after which a worker that says nothing is stuck, and has been ended by its own watch."""
    own = settings.from_environment(os.environ)
    silence = own.stuck_after + GRACE
    if runs_jobs_inside(worker):
        silence += max(
            own.presumed_job, *(app_settings.time_limit(task) or 0.0 for task in list(worker.app.tasks.values()))
        )
    return float(silence)
