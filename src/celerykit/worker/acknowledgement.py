"""When a job is acknowledged, and how often it is delivered."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals
from celery.app.task import Task
from celery.concurrency import thread
from celery.worker import state
from celery.worker.request import Request as CeleryRequest
from kombu.utils.imports import symbol_by_name

from celerykit.config import settings
from celerykit.worker import origins

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


class Delivery(bootsteps.Step):  # type: ignore[misc]
    """Gives tasks the kit's request class; acknowledges first where the pool's promise is at-most-once."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any):
        super().__init__(worker, **options)
        # Celery resolves the name in each task's strategy; see also `with_ours`.
        Task.Request = "celerykit.worker.settlement:Request"
        origins.note(worker.app)
        self._at_most_once = settings.from_environment(os.environ).delivery == settings.AT_MOST_ONCE

    def create(self, worker: Any) -> None:
        """Choose a pool that tells of each loss, and put an acknowledgement that comes first before the hand-over."""
        if hasattr(worker.pool, "BlockingPool"):
            from celerykit.worker.blocking import BlockingPool  # what is of no use to threads

            worker.pool.BlockingPool = BlockingPool
        if not self._at_most_once:
            return
        takes_slot = worker.process_task == worker._process_task_sem  # not without an event loop, whatever the pool
        worker._process_task = acknowledge_first(worker)
        worker.process_task = worker._process_task
        if takes_slot:
            worker.process_task = worker._process_task_sem
        elif worker.hub is not None and issubclass(worker.pool_cls, thread.TaskPool):
            # This pool queues whatever it gets: without slots of its own, a worker would acknowledge the whole queue
            # into its memory, and a stop would drop it.
            worker.process_task = worker._process_task_sem
            signals.task_postrun.connect(_releases_slot_of(worker), weak=False)


def with_ours(own: Any) -> Any:
    """Return a task's own class of requests with the kit's below it.

    What it overrides, it overrides; the rest is the kit's instead of Celery's: the end of its deliveries, above all.

    :param own: the class, or its name.
    """
    own, ours = (symbol_by_name(name) for name in (own, Task.Request))  # type: ignore[no-untyped-call]
    if not issubclass(own, CeleryRequest) or issubclass(own, ours):
        return own
    return type(own.__name__, (own, ours), {"__module__": own.__module__, "__doc__": own.__doc__})


def _releases_slot_of(worker: Any) -> Callable[..., None]:
    def release(**_: Any) -> None:
        worker.consumer.call_soon(worker._quick_release)

    return release


def acknowledge_first(worker: Any) -> Callable[[Any], Any]:
    """Return what hands a request to the pool, with a synchronous acknowledgement before it.

    Celery's early acknowledgement comes when the pool has accepted a job: a worker killed in between runs it twice. If
    the broker does not take the acknowledgement, the job is not run: the broker has it still.
    """
    process = worker._process_task

    def process_task(request: Any) -> Any:
        if not request.task.acks_late and not request.acknowledged:
            if not acknowledge(request.message):
                return leave(worker, request)
            request.acknowledged = True
        return process(request)

    return process_task


def leave(worker: Any, request: Any) -> None:
    """Do not begin a job that is this worker's no more, and give its slot to another."""
    logger.warning("job %s[%s] is not this worker's any more, and does not begin here", request.name, request.id)
    state.task_ready(request)
    if hasattr(worker, "_quick_release"):
        worker._quick_release()


def acknowledge(message: Any) -> bool:
    """Acknowledge a message before anything else, and say whether it was this worker's still."""
    if hasattr(message.channel, "ack_now"):
        return bool(message.channel.ack_now(message))
    message.ack()
    return True
