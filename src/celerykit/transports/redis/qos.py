"""What a channel has delivered, and what becomes of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kombu.transport import redis as stock
from kombu.transport import virtual

from celerykit.compat import redis_polling
from celerykit.transports.redis import scripts
from celerykit.transports.redis.messages import LAST, Return

if TYPE_CHECKING:
    from collections.abc import Iterable


class QoS(stock.QoS):
    """Settles jobs through the process's lease: it may outlive the connection by which they came."""

    _restored_at = 0.0

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a delivery; the reservation has been made by the server already."""
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Settle a job that is done with."""
        self.channel.lease.settle(delivery_tag)
        self._quick_ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Settle a job, or put it at the end of its queue."""
        if requeue:
            self.put_back(delivery_tag, Return(push=LAST))
        else:
            self.ack(delivery_tag)

    def put_back(self, delivery_tag: str, how: Return) -> None:
        """Have a job back in a queue: now, or as soon as Redis takes it."""
        self.channel.lease.requeuer.give_back([delivery_tag], how)
        self._quick_ack(delivery_tag)

    def restore_unacked(self, client: Any = None) -> Iterable[Any]:
        """Put everything back that does not run; what runs stays the worker's, over the connection's end."""
        self._flush()
        running = set(self.channel.lease.workplace.running())
        self.channel.lease.requeuer.give_back([job for job in self._delivered if job not in running])
        self._delivered.clear()
        return ()

    def restore_visible(self, start: int = 0, num: int | None = None, interval: int = 1) -> None:
        """Put back what stock workers have held for longer than the visibility timeout."""
        if (
            not self.channel.is_leased
            or time.monotonic() - self._restored_at < redis_polling.restore_interval(self.channel) / 2
        ):
            return
        self._restored_at = time.monotonic()
        lease = self.channel.lease
        arguments = (self.visibility_timeout, lease.keys.owned_by)
        for tag in scripts.OVERDUE(lease.client, [lease.keys.index], arguments):
            self.restore_by_tag(tag)
