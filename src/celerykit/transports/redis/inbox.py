"""The jobs that have come to a channel, until its worker has them."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from celerykit.transports.redis.keys import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from celerykit.transports.redis.lease import Lease

logger = logging.getLogger(__name__)

SLICE = 0.005
"""Seconds of handing out jobs before everything else in the loop has its turn."""


class Inbox:
    """Knows how many more may come, and hands out those that have."""

    def __init__(self, channel: Any, lease: Lease, wake: Callable[[], None]):
        """:param wake: has the loop come back for what is left."""
        self.arrived: deque[tuple[str, str, bytes]] = deque()
        """Each with the name of its reservation, its queue and its message."""
        self._channel = channel
        self._lease = lease
        self._wake = wake

    def room(self) -> tuple[int, int]:
        """Return how many jobs may be reserved now, and how many of them could start at once."""
        channel = self._channel
        qos = channel.qos
        if not channel.active_queues or channel._closing or not qos.can_consume():
            return 0, 0
        room = qos.prefetch_count - (len(qos._delivered) - len(qos._dirty)) if qos.prefetch_count else BATCH
        want = max(0, min(room - len(self.arrived), BATCH))
        slots = self._lease.workplace.free_slots()
        slots = want if slots is None else max(0, slots - len(self.arrived))
        if "can_consume" in vars(qos):  # worker_disable_prefetch has replaced it
            want = min(want, slots)
        return want, slots

    def hand_out(self) -> bool:
        """Deliver what has arrived, and say whether there was any; what takes long leaves the rest to the next turn."""
        end = time.monotonic() + SLICE
        any_came = bool(self.arrived)
        channel = self._channel
        while self.arrived and not channel._closing:
            job, queue, body = self.arrived.popleft()
            try:
                payload = delivered(job, body)
            except (ValueError, KeyError, TypeError):
                logger.exception("what lay in queue %s is no message: it goes to the dead letters", queue)
                self._lease.requeuer.bury(job)
                continue
            if queue in channel.unacknowledged:
                self._lease.settle(job)
            channel.connection._deliver(payload, queue)
            if time.monotonic() > end:
                break
        if self.arrived:
            self._wake()
        return any_came

    def give_back(self) -> None:
        """Give back what has not been handed out."""
        if self.arrived:
            self._lease.requeuer.give_back([job for job, _, _ in self.arrived])
            self.arrived.clear()


def delivered(job: str, body: bytes) -> Any:
    """Return a message as it is delivered: settled by the name of its reservation."""
    payload = loads(bytes_to_str(body))
    payload["properties"]["delivery_tag"] = job
    return payload
