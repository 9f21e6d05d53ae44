"""What a worker tells the transport of its jobs, where the kit has a transport of its own."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.worker import state

from celerykit.brokers import catalogue
from celerykit.config import settings
from celerykit.messages import dead_letters
from celerykit.worker import eta
from celerykit.worker.acknowledgement import leave
from celerykit.worker.liveness import longest_silence

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


class Reservations(bootsteps.Step):  # type: ignore[misc]
    """Has the worker's jobs come by the kit's transport, on Redis."""

    requires = ("celerykit.worker.liveness:Vitals", "celerykit.worker.acknowledgement:Delivery")

    def include_if(self, worker: Any) -> bool:
        """Only there, and unless it is switched off."""
        return is_on_redis(worker.app, settings.KIT)

    def create(self, worker: Any) -> None:
        """Make the workplace known, and leave alone what was given to others."""
        from celerykit import transports
        from celerykit.transports.redis.consumer_info import Workplace

        workplace = Workplace(
            name=worker.hostname,
            is_alive=lambda: worker.pulse.is_alive,
            free_slots=lambda: free_slots(worker),
            patience=lambda: longest_silence(worker),
            ahead=eta.ahead,
            tell_waiting=worker.pulse.waits,
            running=lambda: [request.message.delivery_tag for request in tuple(state.active_requests)],
        )
        transports.install(worker.app, workplace)
        is_direct = worker.process_task == worker._process_task
        worker._process_task = of_this_worker(worker)
        if is_direct:
            worker.process_task = worker._process_task


def is_on_redis(app: Any, transport: str) -> bool:
    """Say whether an app's jobs come from Redis by this transport: ``settings.KIT`` or ``settings.STOCK``."""
    scheme = app.connection_for_read().transport_cls
    return scheme in catalogue.REDIS and settings.from_environment(os.environ).redis_transport == transport


def free_slots(worker: Any) -> int:
    """Return how many jobs the pool could start at once."""
    return int(worker.pool.num_processes) - max(len(state.reserved_requests), len(state.active_requests))


def of_this_worker(worker: Any) -> Callable[[Any], Any]:
    """Return what hands a request to the pool, for jobs that are this worker's still and not given up."""
    process = worker._process_task

    def process_task(request: Any) -> Any:
        message = request.message
        if not is_held(message):
            message.channel.forget(message)
            leave(worker, request)
        elif not (hasattr(request, "gave_up") and request.gave_up()):
            return process(request)
        elif hasattr(worker, "_quick_release"):
            worker._quick_release()
        return None

    return process_task


def is_held(message: Any) -> bool:
    """Say whether a job is this worker's still; Redis is asked only if another worker has died with it."""
    lease = message.channel.lease
    if dead_letters.deliveries(message) > 1 and message.delivery_tag not in lease.lost:
        return bool(lease.begin(message.delivery_tag))
    return message.delivery_tag not in lease.lost
