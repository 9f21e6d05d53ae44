"""How a channel's jobs are fetched: asked for in one step of the server, and when that says that there are some."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from celerykit.transports.redis import scripts
from celerykit.transports.redis.inbox import Inbox
from celerykit.transports.redis.lookout import Lookout
from celerykit.transports.redis.reservation import News
from celerykit.transports.redis.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celerykit.transports.redis.consumption import Consumption
    from celerykit.transports.redis.lease import Lease
    from celerykit.transports.redis.poller import Poller
    from celerykit.transports.redis.reservation import Request

logger = logging.getLogger(__name__)

AT_THE_DOOR = 1


class Fetcher:
    """Asks and hears; of one channel, one request at a time is on its way."""

    def __init__(self, channel: Any, lease: Lease, consumption: Consumption):
        self.request: Request | None = None
        """What has no answer yet."""
        self.was_answered = False
        self.lookout = Lookout()
        self.sources = Sources(channel, lease.bell)
        self.inbox = Inbox(channel, lease, self.wake)
        self._channel = channel
        self._lease = lease
        self._consumption = consumption
        self._at_door = False

    @property
    def is_served(self) -> bool:
        """Whether the server has answered a request, or none is to be made."""
        return self.was_answered or (self.request is None and not self.inbox.room()[0])

    def ring(self) -> None:
        """Look into all queues at the next turn; from any thread."""
        self.lookout.ring()
        self.wake()

    def wake(self) -> None:
        """Have a turn soon; from any thread."""
        self.sources.alarm.raise_()

    def has_work(self, client: Any) -> bool:
        """Say whether there is work that nobody has rung for.

        :param client: of the thread that asks.
        """
        return not self.lookout.is_due and bool(self.inbox.room()[0]) and self._consumption.has_work(client)

    def consumed_lists(self) -> list[bytes]:
        """Return the lists of the queues that are consumed."""
        return self._consumption.all_lists()

    def get(self, queue: str) -> tuple[str, str, bytes] | None:
        """Reserve one job at once, if there is one."""
        request = self._consumption.ask(News(), self._lease.ask(), [queue], want=1, slots=None)
        if not self._take(request, scripts.run(self._lease.client, request.command, scripts.RESERVE)):
            return None
        return self.inbox.arrived.pop()

    # Asking.

    def on_turn(self, poller: Poller) -> None:
        """Send what is due: acknowledgements, and the request for the next jobs."""
        if not self.sources.is_up:
            self._forget_request()
        if self.request is None and self.sources.connect(poller):
            self.lookout.forget()
        self._ask_for_more()

    def on_disconnect(self, connection: Any) -> None:
        """Have no answer to wait for, if that was to come by a connection."""
        if self.request is not None and connection is self._channel.client.connection:
            self._forget_request()

    def _ask_for_more(self) -> None:
        """Send what is due, unless an answer is."""
        if self.request is not None:
            return
        channel, lease, lookout = self._channel, self._lease, self.lookout
        news = lease.outbox.take()
        want, slots = self.inbox.room() if lookout.is_due or news else (0, 0)
        if not news and not want:
            return
        queues: Sequence[str] = ()
        moves = False
        if want:
            moves = lease.due_jobs.may_exist
            queues = lookout.choose(channel._queue_cycle.consume(len(channel.active_queues)), moves=moves)
            want = want if queues else 0
        if not news and not want:
            return
        self._send(self._consumption.ask(news, lease.ask(), queues, want=want, slots=slots, moves=moves))

    def _send(self, request: Request, *before: tuple[str, ...]) -> None:
        self.request = request
        channel = self._channel
        connection = channel._in_poll = channel.client.connection
        channel._brpop_sent_at = time.monotonic()
        try:
            connection.send_packed_command(connection.pack_commands([*before, request.command]))
        except BaseException:
            self._forget_request()
            raise

    def _forget_request(self) -> None:
        """Have no answer to wait for; what the server may not have heard is sent again."""
        request, self.request, self._channel._in_poll = self.request, None, None
        self._at_door = False
        self.lookout.forget()
        if request is not None:
            self._lease.outbox.take_back(request.news)
            self._lease.answered(request.number)

    # Hearing.

    def on_alarm(self) -> bool:
        """Hand out what is left, and say whether there was any."""
        self.sources.alarm.lower()
        return self.inbox.hand_out()

    def on_bell(self) -> None:
        """Ask at once for the jobs that Redis has rung for."""
        bell = self.sources.bell
        if bell is not None:
            self.lookout.is_due = True
            lists = bell.listen()
            self.lookout.changed.add(None if lists is None else self._consumption.queues_of(lists))
            if bell.is_up and self._channel.client.connection._sock is not None:
                self._ask_for_more()  # the loop's next turn would cost a job its first tenth of a millisecond

    def on_answer(self) -> bool:
        """Read an answer, and say whether jobs were delivered.

        :raises redis.ConnectionError: if nothing is expected: the server has closed the connection.
        """
        if self.request is None:
            self._channel.client.connection.disconnect()
            raise RedisConnectionError("the server has closed the connection by which jobs come")
        return self._read() and self.inbox.hand_out()

    def _read(self) -> bool:
        """Read an answer, and say whether jobs have come."""
        try:
            answer = self.sources.read(after_leave=self._at_door)
        except NoScriptError:
            self._lease.client.script_load(scripts.RESERVE.text)
            request, self.request = self.request, None
            if request is not None:
                self._send(request)
            return False
        except self._channel.ResponseError:
            self._forget_request()
            raise
        request = self.request
        self.request = self._channel._in_poll = None
        self.was_answered = True
        if request is None:
            return False
        if self._at_door:
            self._at_door = False
            if answer:
                self.lookout.is_due = True
                self.lookout.changed.add(request.queues)
            self._lease.answered(request.number)
            return False
        return self._take(request, answer)

    def _take(self, request: Request, answer: list[Any]) -> bool:
        """Note what a request has brought, and ask to be woken if it was less than was wanted."""
        channel, lease = self._channel, self._lease
        late, waits, *jobs = answer
        for place, (queue, body) in enumerate(zip(jobs[::2], jobs[1::2], strict=True)):
            job = f"{lease.owner}.{request.number + place}"
            lease.held.add(job)
            name = request.queues[queue - 1]
            channel._queue_cycle.rotate(name)
            self.inbox.arrived.append((job, name, body))
        lease.answered(request.number)
        lease.outbox.note_late(late, request.news)
        if waits == AT_THE_DOOR:
            self._at_door = True
            self.lookout.changed.watch(request.queues, all_of_them=len(request.queues) == len(channel.active_queues))
            self._send(self._consumption.watch(lease.ask(), request.queues), ("CLIENT", "CACHING", "YES"))
        elif waits:
            self.lookout.changed.reset()  # whoever wakes this worker does not say for which queue
        elif not waits and jobs:
            self.lookout.is_due = True  # there may be more
        return bool(jobs)

    # Ending.

    def settle_request(self) -> None:
        """Wait for the answer that is due, and give back the jobs that it brings."""
        try:
            while self.request is not None:
                self._read()
        except (*self._channel.connection_errors, self._channel.ResponseError) as exc:
            logger.info("jobs may be on their way still, and come back by themselves: %r", exc)
            self._forget_request()
        self.inbox.give_back()
