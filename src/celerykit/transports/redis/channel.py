"""Channels whose jobs are reserved by the server in one step, and fetched when the server says that there are some."""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Any

from kombu.transport import redis as stock
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from celerykit.compat import redis_polling
from celerykit.transports.reaching import Reaching
from celerykit.transports.redis import scripts
from celerykit.transports.redis.consumer_info import Workplace
from celerykit.transports.redis.keys import BATCH
from celerykit.transports.redis.leases import lease_for
from celerykit.transports.redis.messages import LAST, Return, redelivered
from celerykit.transports.redis.poller import ALARM, ANSWER, BELL
from celerykit.transports.redis.qos import QoS
from celerykit.transports.redis.reservation import Changed, News, Queues, Request
from celerykit.transports.redis.waker import Alarm
from celerykit.transports.redis.wakeup import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from celerykit.transports.redis.lease import Lease
    from celerykit.transports.redis.poller import Poller

logger = logging.getLogger(__name__)

SLICE = 0.005
"""Seconds of handing out jobs before everything else in the loop has its turn."""
MOST_BYTES = 1 << 20
"""A reservation ends with the job that passes this: larger ones hold up the server, and everybody with it."""
BELIEF = 5
"""Seconds for which somebody is believed to stand at the door without saying so again."""
LOOKED, ROUNDS = 500, 10
"""Queues at least, and in how many parts at most, that are looked at without a reason at a time."""
SELDOM = 20.0
"""Seconds between two looks at all queues, where some are known to have changed."""
COUNTED = 4000
"""Lists whose lengths are asked for at once."""
AT_THE_DOOR = 1
ELSEWHERE = Workplace()
"""Where a consumer works that no worker of the kit has told of itself."""


class LeasedChannel(Reaching, stock.Channel):
    """Kombu's channel, but for the way in which jobs that are acknowledged come in and are settled.

    Queues that are consumed without acknowledgement are Kombu's still, as long as no other is consumed beside them.
    """

    QoS = QoS
    is_leased = False
    _in_poll: Any = False
    _brpop_sent_at: Any = None

    def __init__(self, *args: Any, **kwargs: Any):
        self._lease: Lease | None = None
        self._alarm: Alarm | None = None
        self._bell: Bell | None = None
        self._request: Request | None = None
        self._at_door = False
        self._hung_on: Any = None
        self._looks = self._looks_everywhere = True
        self._was_answered = False
        self._unacknowledged: set[str] = set()
        self._arrived: deque[tuple[str, str, bytes]] = deque()
        self._queues = Queues(self._lists_of)
        self._changed = Changed()
        self._waiters: tuple[frozenset[str], tuple[str, ...]] = frozenset(), ()
        self._looked = 0
        self._rung_at = 0.0
        super().__init__(*args, **kwargs)
        self.handlers.update({ANSWER: self._on_answer, BELL: self._on_bell, ALARM: self._on_alarm})

    @property
    def lease(self) -> Lease:
        """The lease under which this channel holds jobs."""
        if self._lease is None:
            workplace: Workplace = getattr(self.connection.client, "workplace", ELSEWHERE)
            self._lease = lease_for(self, workplace)
        return self._lease

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **kwargs: Any) -> Any:
        """Consume a queue; with acknowledgements, under a lease."""
        answer = super().basic_consume(queue, no_ack, *args, **kwargs)
        if no_ack:
            self._unacknowledged.add(queue)
        else:
            self._unacknowledged.discard(queue)
            if queue not in self.active_fanout_queues:
                self._become_leased()
        self._looks_everywhere = True
        self.ring()
        return answer

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """Take one job, if there is one."""
        if no_ack:
            return super().basic_get(queue, no_ack, **kwargs)
        self._become_leased()
        number = self.lease.ask()
        request = self._ask(News(), number, [queue], want=1, slots=None)
        if not self._take(request, scripts.run(self.lease.client, request.command, scripts.RESERVE)):
            return None
        job, _, body = self._arrived.pop()
        message = self.Message(self._payload(job, body), channel=self)
        self.qos.append(message, job)
        return message

    @property
    def is_served(self) -> bool:
        """Whether the server has answered a request for jobs, or none is to be made."""
        return self._was_answered or (self._request is None and not self._wanted()[0])

    def ring(self) -> None:
        """Look into all queues at the next turn; from any thread.

        Those of a busy worker that have changed will do, but for every now and then: it has not come to them yet.
        """
        now = time.monotonic()
        if not self._changed.is_some or now - self._rung_at > SELDOM:
            self._rung_at, self._looks_everywhere = now, True
        self._looks = True
        self.wake()

    def wake(self) -> None:
        """Have a turn soon; from any thread."""
        if self._alarm is not None:
            self._alarm.raise_()

    def on_turn(self, poller: Poller) -> None:
        """Send what is due: acknowledgements, and the request for the next jobs."""
        if self._request is None or self.client.connection._sock is None:
            self._connect(poller)
        self._ask_for_more()

    def _ask_for_more(self) -> None:
        """Send what is due, unless an answer is."""
        if self._request is not None:
            return
        news = self.lease.take_news()
        want, slots = self._wanted() if self._looks or news else (0, 0)
        if not news and not want:
            return
        queues: Sequence[str] = ()
        moves = False
        if want:
            self._looks = False
            moves = self.lease.is_due
            # Redis does not ring for what this very request moves.
            if self._looks_everywhere or moves:
                self._looks_everywhere = False
                self._changed.reset()
            queues = self._changed.among(self._queue_cycle.consume(len(self.active_queues)))
            want = want if queues else 0
        if not news and not want:
            return
        self._send(self._ask(news, self.lease.ask(), queues, want=want, slots=slots, moves=moves))

    def has_work(self, client: Any) -> bool:
        """Say whether there is work for this channel that nobody has rung for.

        :param client: of the thread that asks.
        """
        if self._looks or not self._wanted()[0]:
            return False
        lists = self._lists(self._some())
        return bool(scripts.HAS_WORK(client, self._line_and_door(), (self.lease.owner, BELIEF, *lists)))

    def _some(self) -> Sequence[str]:
        """Return the next of the queues to look at, where they are many: a bell is seldom lost."""
        queues = tuple(self.active_queues)
        number = max(LOOKED, len(queues) // ROUNDS + 1)
        begin, self._looked = self._looked, self._looked + number
        if self._looked >= len(queues):
            self._looked = 0
        return queues[begin : begin + number]

    def consumed_lists(self) -> list[bytes]:
        """Return the lists of the queues that this channel consumes."""
        return self._lists(tuple(self.active_queues))

    def count(self, queues: Sequence[str]) -> int:
        """Return how many jobs are in queues that this channel consumes; from any thread."""
        lists = self._lists(self._changed.among(queues))
        total = 0
        for start in range(0, len(lists), COUNTED):
            with self.lease.client.pipeline(transaction=False) as pipe:
                for name in lists[start : start + COUNTED]:
                    pipe.llen(name)
                total += sum(pipe.execute())
        return total

    def _lists(self, queues: Iterable[str]) -> list[bytes]:
        return [key for queue in queues for key in self._queues.lists(queue)]

    def check_bell(self) -> None:
        """Drop a bell that does not answer."""
        if self._bell is not None and self.active_queues and self._bell.is_dead(0.9 * self.health_check_interval):
            logger.warning("the connection on which Redis wakes this worker is dead: dropping it")
            self._bell.close()

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

    def close(self) -> None:
        """Give back what does not run, and let the rest outlast the connection."""
        if self.is_leased and not self.closed:
            self._settle_request()
            self._stop_listening()
            self.qos.restore_unacked()
        try:
            super().close()
        finally:
            if self._lease is not None:
                self._lease.leave(self)

    def _stop_listening(self) -> None:
        for kind, source in ((ALARM, self._alarm), (BELL, self._bell), (ANSWER, self.client)):
            self.connection.cycle.forget(self, kind, source)
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.close()
        if self._bell is not None:
            self._bell.close()

    # Becoming, and being, connected.

    def _become_leased(self) -> None:
        if not self.is_leased:
            if self._in_poll:
                with suppress(Empty):
                    self._brpop_read()
            self._alarm = Alarm()
            self.is_leased = True
            self.lease.enter(self)

    def _connect(self, poller: Poller) -> None:
        """Have the connections that jobs come by, in the poller."""
        client = self.client
        if getattr(client, "connection", None) is None:
            client.connection = redis_polling.connection_of(client.connection_pool)
        if client.connection._sock is None:
            self._forget_request()
            client.connection.connect()
        if self._bell is None:
            self._bell = Bell(self.async_pool, self.lease.bell)
        if self._hung_on != (client.connection._sock, self._bell.connection._sock) or not self._bell.is_up:
            self._bell.close()
            self._bell.hang_up(client.connection)
            self._hung_on = (client.connection._sock, self._bell.connection._sock)
            self._looks = self._looks_everywhere = True
        for kind, source in ((ANSWER, client), (BELL, self._bell), (ALARM, self._alarm)):
            poller.listen(self, kind, source)

    def _on_connection_disconnect(self, connection: Any) -> None:
        if self._request is not None and connection is self.client.connection:
            self._forget_request()
        super()._on_connection_disconnect(connection)

    # Asking.

    def _wanted(self) -> tuple[int, int]:
        """Return how many jobs may be reserved now, and how many of them could start at once."""
        qos = self.qos
        if not self.active_queues or self._closing or not qos.can_consume():
            return 0, 0
        room = qos.prefetch_count - (len(qos._delivered) - len(qos._dirty)) if qos.prefetch_count else BATCH
        want = max(0, min(room - len(self._arrived), BATCH))
        slots = self.lease.workplace.free_slots()
        slots = want if slots is None else max(0, slots - len(self._arrived))
        if "can_consume" in vars(qos):  # worker_disable_prefetch has replaced it
            want = min(want, slots)
        return want, slots

    def _ask(
        self, news: News, number: int, queues: Sequence[str], *, want: int, slots: int | None, moves: bool = False
    ) -> Request:
        """Return a request; without slots it is not one of a worker that waits to be woken.

        :param moves: whether it is to move jobs whose time has come before.
        """
        lease = self.lease
        keys = lease.keys
        steps = [
            keys.unacked, keys.index, lease.owned, keys.owners, *self._line_and_door(), keys.waiting,
        ]  # fmt: skip
        lists = [part for queue in queues for part in self._queues.tell(queue)]
        arguments = (
            lease.owner, lease.workplace.lease_seconds, number, want, slots or 0, int(slots is not None),
            int(self._takes_turns), keys.bells, MOST_BYTES, BELIEF,
            *news.told(), int(moves), BATCH, lease.workplace.ahead(),
            len(queues), len(self.priority_steps), *lists,
        )  # fmt: skip
        return Request(news, number, queues, scripts.RESERVE.command(steps, arguments))

    def _line_and_door(self) -> tuple[str, ...]:
        """Return the keys of those that wait to be woken for just these queues; from any thread."""
        queues, (known, waiters) = frozenset(self.active_queues), self._waiters
        if queues != known or not waiters:
            waiters = self.lease.keys.line(queues), self.lease.keys.doorman(queues)
            self._waiters = queues, waiters
        return waiters

    @property
    def _takes_turns(self) -> bool:
        return self.queue_order_strategy == "round_robin"

    def _lists_of(self, queue: str) -> Iterable[str]:
        return (self.global_keyprefix + self._q_for_pri(queue, rank) for rank in self.priority_steps)

    def _send(self, request: Request, *before: tuple[str, ...]) -> None:
        self._request = request
        connection = self._in_poll = self.client.connection
        self._brpop_sent_at = time.monotonic()
        try:
            connection.send_packed_command(connection.pack_commands([*before, request.command]))
        except BaseException:
            self._forget_request()
            raise

    def _forget_request(self) -> None:
        """Have no answer to wait for; what the server may not have heard is sent again."""
        request, self._request, self._in_poll = self._request, None, None
        self._at_door = False
        self._looks = self._looks_everywhere = True
        if request is not None:
            self.lease.take_back(request.news)
            self.lease.answered(request.number)

    # Hearing.

    def _on_alarm(self) -> bool:
        if self._alarm is not None:
            self._alarm.lower()
        return self._hand_out()

    def _on_bell(self) -> None:
        if self._bell is not None:
            self._looks = True
            changed = self._bell.listen()
            self._changed.add(None if changed is None else self._queues.of(changed))
            if self._bell.is_up and self.client.connection._sock is not None:
                self._ask_for_more()  # the loop's next turn would cost a job its first tenth of a millisecond

    def _on_answer(self) -> bool:
        if self._request is None:
            # Nothing is expected: the server has closed the connection.
            self.client.connection.disconnect()
            raise RedisConnectionError("the server has closed the connection by which jobs come")
        return self._read() and self._hand_out()

    def _read(self) -> bool:
        """Read an answer, and say whether jobs have come."""
        try:
            answer = self._parse(self.client.connection)
        except NoScriptError:
            self.lease.client.script_load(scripts.RESERVE.text)
            request, self._request = self._request, None
            if request is not None:
                self._send(request)
            return False
        except self.ResponseError:
            self._forget_request()
            raise
        request = self._request
        self._request = self._in_poll = None
        self._was_answered = True
        if request is None:
            return False
        if self._at_door:
            self._at_door = False
            if answer:
                self._looks = True
                self._changed.add(request.queues)
            self.lease.answered(request.number)
            return False
        return self._take(request, answer)

    def _parse(self, connection: Any) -> Any:
        try:
            if self._at_door:
                connection.read_response()  # the leave to track what follows
            return self.client.parse_response(connection, "EVALSHA")
        except self.connection_errors:
            connection.disconnect()
            raise

    def _take(self, request: Request, answer: list[Any]) -> bool:
        """Note what a request has brought, and ask to be woken if it was less than was wanted."""
        late, waits, *jobs = answer
        for place, (queue, body) in enumerate(zip(jobs[::2], jobs[1::2], strict=True)):
            job = f"{self.lease.owner}.{request.number + place}"
            self.lease.held.add(job)
            name = request.queues[queue - 1]
            self._queue_cycle.rotate(name)
            self._arrived.append((job, name, body))
        self.lease.answered(request.number)
        self.lease.is_late(late, request.news)
        if waits == AT_THE_DOOR:
            self._at_door = True
            self._changed.watch(request.queues, all_of_them=len(request.queues) == len(self.active_queues))
            look = ("EXISTS", *self._lists(request.queues))
            self._send(Request(News(), self.lease.ask(), request.queues, look), ("CLIENT", "CACHING", "YES"))
        elif waits:
            self._changed.reset()  # whoever wakes this worker does not say for which queue
        elif not waits and jobs:
            self._looks = True  # there may be more
        return bool(jobs)

    def _hand_out(self) -> bool:
        """Deliver what has arrived; what takes long leaves the rest to the next turn."""
        end = time.monotonic() + SLICE
        any_came = bool(self._arrived)
        while self._arrived and not self._closing:
            job, queue, body = self._arrived.popleft()
            try:
                payload = self._payload(job, body)
            except (ValueError, KeyError, TypeError):
                logger.exception("what lay in queue %s is no message: it goes to the dead letters", queue)
                self.lease.bury(job)
                continue
            if queue in self._unacknowledged:
                self.lease.settle(job)
            self.connection._deliver(payload, queue)
            if time.monotonic() > end:
                break
        if self._arrived:
            self.wake()
        return any_came

    def _payload(self, job: str, body: bytes) -> Any:
        """Return a message as it is delivered: settled by the name of its reservation."""
        payload = loads(bytes_to_str(body))
        payload["properties"]["delivery_tag"] = job
        return payload

    # Ending.

    def _basic_cancel(self, consumer_tag: str) -> Any:
        answer = super()._basic_cancel(consumer_tag)
        self._looks_everywhere = True
        if self.is_leased and not self.active_queues:
            self._settle_request()
        return answer

    def _settle_request(self) -> None:
        """Wait for the answer that is due, and give back the jobs that it brings."""
        try:
            while self._request is not None:
                self._read()
        except (*self.connection_errors, self.ResponseError) as exc:
            logger.info("jobs may be on their way still, and come back by themselves: %r", exc)
            self._forget_request()
        if self._arrived:
            self.lease.give_back([job for job, _, _ in self._arrived])
            self._arrived.clear()
