"""What a worker says of the jobs that wait on Redis for their time, and what it does where it has a stock transport."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.worker import control, strategy
from celery.worker.request import Request
from kombu.utils.json import loads

from celerykit.config import settings
from celerykit.worker.leases import is_on_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

TOLD = 1000
"""Jobs that one answer of ``inspect scheduled`` has of those on the server."""
PRIORITY = 6
"""What Celery says of every job that waits for its ETA: the priority of its entry in the timer."""
EVERY = 10.0
"""Seconds between two looks for jobs that workers of the kit have left waiting."""


class Scheduled(bootsteps.Step):  # type: ignore[misc]
    """Has ``inspect scheduled`` tell of jobs that wait on the server, too."""

    requires = ("celerykit.worker.leases:Reservations",)

    def include_if(self, worker: Any) -> bool:
        """Only where the kit's transport has them wait."""
        return is_on_redis(worker.app, settings.KIT)

    def create(self, worker: Any) -> None:
        """Put the command before Celery's, or an app's own."""
        told = control.Panel.data["scheduled"]
        command = Command(told.command if isinstance(told, Command) else told)
        control.Panel.data.update(scheduled=command, dump_schedule=command)


class Command:
    """The command, with what Celery's tells first."""

    def __init__(self, command: Callable[..., Any]):
        self.command = command

    def __call__(self, panel: Any, **options: Any) -> Any:
        """Return the jobs in this worker's timer, and those of its queues on the server, the first of them."""
        told = self.command(panel, **options)
        try:
            return [*told, *_on_server(panel.consumer)]
        except Exception as exc:  # whatever it is, the rest of the answer is right
            logger.warning("inspect scheduled: the jobs that wait on Redis cannot be told: %r", exc)
            return told


def _on_server(consumer: Any) -> Iterator[dict[str, Any]]:
    from celerykit.transports.redis.waiting import Room

    channel = consumer.task_consumer.channel
    room = Room(channel)
    lists = room.lists(sorted(channel.active_queues))
    found = room.first(lists, TOLD)
    if len(found) == TOLD and (more := sum(room.counts(lists)) - TOLD) > 0:
        logger.info("inspect scheduled: told of the %d jobs that are due first; %d more wait on Redis", TOLD, more)
    for job in found:
        try:
            payload: Any = loads(job.message)  # type: ignore[no-untyped-call]
            request = _request(consumer, channel.Message(payload, channel=channel))
        except Exception as exc:  # a worker that knows the task reads it when it is due
            logger.debug("a job that waits on Redis cannot be read here: %r", exc)
            continue
        due = datetime.fromtimestamp(job.due, timezone.utc)
        yield {"eta": (request.eta or due).isoformat(), "priority": PRIORITY, "request": request.info()}


def _request(consumer: Any, message: Any) -> Any:
    if "task" in message.headers:
        told = message.body, message.headers, False, consumer.app.uses_utc_timezone()
    else:
        told = strategy.proto1_to_proto2(message, message.payload)
    body, headers, decoded, utc = told
    return Request(
        message, app=consumer.app, hostname=consumer.hostname, body=body, headers=headers, decoded=decoded, utc=utc
    )


class PuttingBack(bootsteps.StartStopStep):  # type: ignore[misc]
    """Puts jobs that workers of the kit have left waiting back into their queues, where this one has a stock transport.

    Nobody else does: such workers hold jobs in their memory until they are due.
    """

    requires = ("celerykit.worker.liveness:Vitals",)

    def include_if(self, worker: Any) -> bool:
        """Only then."""
        return is_on_redis(worker.app, settings.STOCK)

    def start(self, worker: Any) -> None:
        """Look now and again: the last worker of the kit may end after this has begun."""
        self._stopped = threading.Event()
        threading.Thread(target=self._run, args=[worker.app], name="waiting", daemon=True).start()

    def stop(self, worker: Any) -> None:
        """Look no more."""
        self._stopped.set()

    def _run(self, app: Any) -> None:
        while not self._stopped.is_set():
            try:
                back = put_back(app)
            except Exception as exc:  # whatever it is, the next look may be a better one
                logger.info("whether jobs wait on Redis cannot be seen now: %r", exc)
            else:
                if back:
                    logger.warning("%d jobs that waited for their time on Redis are back in their queues", back)
            self._stopped.wait(EVERY)


def put_back(app: Any) -> int:
    """Put the jobs that wait for their time on Redis back into their queues, and return how many.

    None while a worker with the kit's transport runs: it would put them off again.
    """
    from celerykit.transports.redis.waiting import room_of

    with room_of(app) as room:
        return room.put_back()
