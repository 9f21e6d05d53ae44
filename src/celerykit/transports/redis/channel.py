"""Channels whose jobs are reserved by the server in one step, and fetched when the server says that there are some."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Any

from kombu.transport import redis as stock

from celerykit.transports.reaching import Reaching
from celerykit.transports.redis.consumer_info import Workplace
from celerykit.transports.redis.consumption import Consumption
from celerykit.transports.redis.fetcher import Fetcher
from celerykit.transports.redis.inbox import delivered
from celerykit.transports.redis.leases import lease_for
from celerykit.transports.redis.messages import LAST, Return, redelivered
from celerykit.transports.redis.poller import ALARM, ANSWER, BELL
from celerykit.transports.redis.qos import QoS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celerykit.transports.redis.lease import Lease

ELSEWHERE = Workplace()
"""Where a consumer works that no worker of the kit has told of itself."""


class LeasedChannel(Reaching, stock.Channel):
    """Kombu's channel, but for the way in which jobs that are acknowledged come in and are settled.

    Queues that are consumed without acknowledgement are Kombu's still, as long as no other is consumed beside them.
    """

    QoS = QoS
    fetcher: Fetcher | None = None
    """Who fetches its jobs, from the moment on in which it reserves any."""
    _in_poll: Any = False
    _brpop_sent_at: Any = None

    def __init__(self, *args: Any, **kwargs: Any):
        self.unacknowledged: set[str] = set()
        """Queues whose jobs are settled as soon as they are delivered."""
        self._consumption = Consumption(self)
        self._lease: Lease | None = None
        super().__init__(*args, **kwargs)

    @property
    def is_leased(self) -> bool:
        """Whether it reserves jobs under a lease."""
        return self.fetcher is not None

    @property
    def lease(self) -> Lease:
        """The lease under which this channel holds jobs."""
        if self._lease is None:
            workplace: Workplace = getattr(self.connection.client, "workplace", ELSEWHERE)
            self._lease = lease_for(self, workplace)
        return self._lease

    # Consuming.

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **kwargs: Any) -> Any:
        """Consume a queue; with acknowledgements, under a lease."""
        answer = super().basic_consume(queue, no_ack, *args, **kwargs)
        if no_ack:
            self.unacknowledged.add(queue)
        else:
            self.unacknowledged.discard(queue)
            if queue not in self.active_fanout_queues:
                self._fetcher_made()
        if self.fetcher is not None:
            self.fetcher.lookout.is_everywhere = True
            self.fetcher.ring()
        return answer

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """Take one job, if there is one."""
        if no_ack:
            return super().basic_get(queue, no_ack, **kwargs)
        got = self._fetcher_made().get(queue)
        if got is None:
            return None
        job, _, body = got
        message = self.Message(delivered(job, body), channel=self)
        self.qos.append(message, job)
        return message

    def count(self, queues: Sequence[str]) -> int:
        """Return how many jobs are in queues that this channel consumes; from any thread."""
        may_have_jobs = queues if self.fetcher is None else self.fetcher.lookout.changed.among(queues)
        return self._consumption.count(may_have_jobs)

    def close(self) -> None:
        """Give back what does not run, and let the rest outlast the connection."""
        if self.fetcher is not None and not self.closed:
            self.fetcher.settle_request()
            self.fetcher.sources.close()
            self.qos.restore_unacked()
        try:
            super().close()
        finally:
            if self._lease is not None:
                self._lease.leave(self.fetcher)

    def _fetcher_made(self) -> Fetcher:
        """Return who fetches jobs under a lease; the first one that is asked for begins with that."""
        if self.fetcher is None:
            if self._in_poll:
                with suppress(Empty):
                    self._brpop_read()
            self.fetcher = made = Fetcher(self, self.lease, self._consumption)
            self.handlers.update({ANSWER: made.on_answer, BELL: made.on_bell, ALARM: made.on_alarm})
            self.lease.enter(made)
        return self.fetcher

    def _basic_cancel(self, consumer_tag: str) -> Any:
        answer = super()._basic_cancel(consumer_tag)
        if self.fetcher is not None:
            self.fetcher.lookout.is_everywhere = True
            if not self.active_queues:
                self.fetcher.settle_request()
        return answer

    def _on_connection_disconnect(self, connection: Any) -> None:
        if self.fetcher is not None:
            self.fetcher.on_disconnect(connection)
        super()._on_connection_disconnect(connection)

    # Settling.

    def ack_now(self, message: Any) -> bool:
        """Acknowledge a message, wait for Redis to know, and say whether it was this worker's still."""
        settled = self.lease.settle_now(message.delivery_tag)
        self.qos._quick_ack(message.delivery_tag)
        message._state = "ACK"
        return settled

    def forget(self, message: Any) -> None:
        """Be done with a message that is somebody else's by now."""
        self.lease.forget(message.delivery_tag)
        self.qos._quick_ack(message.delivery_tag)
        message._state = "ACK"

    def put_off(self, message: Any, due: float, name: str) -> bool:
        """Have a message wait on the server until its time has come, as it is.

        :param due: in seconds since the epoch.
        :param name: the id of its job.
        :returns: whether that settles it; a message that was acknowledged before stays here.
        """
        if not self.lease.put_off(message.delivery_tag, due, name):
            return False
        self.qos._quick_ack(message.delivery_tag)
        message._state = "REQUEUED"
        return True

    def put_back(self, message: Any, change: Callable[[dict[str, Any]], None], queue: str = "") -> None:
        """Settle a message by putting it into a queue again, in one step of the server.

        :param change: changes the message's headers.
        :param queue: the name of another queue than the one that the message came from.
        """

        def mark(job: dict[str, Any], origin: str) -> None:
            redelivered(job, origin)
            change(job["headers"])

        to = f"{self.global_keyprefix}{queue}" if queue else ""
        self.qos.put_back(message.delivery_tag, Return(mark, LAST, to))
        message._state = "REQUEUED"
