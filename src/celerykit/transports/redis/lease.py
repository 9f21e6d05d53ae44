"""A worker's lease: while it lasts, the jobs that the worker has reserved are nobody else's."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

import redis
from kombu.utils.encoding import bytes_to_str

from celerykit.transports.redis import keys as names
from celerykit.transports.redis import messages, permissions, scripts
from celerykit.transports.redis.messages import AS_IT_CAME, FIRST, LAST, Return
from celerykit.transports.redis.presence import Presence
from celerykit.transports.redis.reservation import News, PutOff

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from celerykit.transports.redis.consumer_info import Workplace
    from celerykit.transports.redis.interfaces import Consumer, Keeping
    from celerykit.transports.redis.keys import Keys
    from celerykit.transports.redis.messages import Returned

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

OUTAGE = 3.0
"""Seconds without a beat of any worker after which no lease has run out: it was the server that was away."""
ALONE = 3
"""Seconds for which one worker alone puts the jobs of a dead one back, if it says no more of it."""
SPELL = 1.0
"""Seconds of that before the next beat."""
PATIENCE = 2.0
"""Seconds that one answer is waited for. Several fit into a lease."""
SHORTEST = 0.05
"""Seconds between two looks at jobs whose time has come."""
PAUSE = 0.25
"""Seconds until the next look, if jobs are due and those that were due before are still at the heads of queues."""
CLOSED = "is not connected any more"
SILENT = "is connected, but has been silent for longer than a worker that is not stuck"
LATE = (
    "%d jobs that ended here were not this worker's in Redis any more: others may have been given them, and then those "
    "that ran here run twice"
)
UNSURE = (
    "%d jobs that ended here are not this worker's in Redis any more: it had heard of their end before a connection "
    "broke, or others have been given them"
)
TAKEN = (
    "this worker was taken for dead, for it was not heard of for %.0f s: %d of its jobs were given to others. Those "
    "that run here may run twice, and the rest is left to them%s"
)
VANISHED = (
    "this worker was heard of %.0f s ago, and yet %d of its jobs are not its own in Redis any more, as after a "
    "failover that loses something. Those that run here may run twice, and the rest is left alone%s"
)
ANOTHER = "Another worker of the name %s runs: give each machine a host name of its own"


class Lease:
    """What one process owns on one server, over all connections that it makes."""

    def __init__(
        self,
        client: Any,
        keys: Keys,
        workplace: Workplace,
        visibility_timeout: float,
        keep: Callable[[Lease], Keeping],
    ):
        self.client = client
        self.keys = keys
        self.workplace = workplace
        self.owner = f"{workplace.name}/{uuid.uuid4().hex[:12]}"
        self.channels: set[Consumer] = set()
        self.held: set[str] = set()
        """Jobs that were delivered here and are not settled."""
        self.lost: set[str] = set()
        """Jobs that somebody else was given meanwhile; what still runs of them runs twice."""
        self.unwanted: dict[str, Return] = {}
        """Jobs that are to go back and could not be put back yet."""
        self.late = 0
        """Acknowledgements that came after the job was given to somebody else."""
        self.due_at = 0.0
        """When the first job that waits is due, as far as is known here, on the clock of :func:`time.monotonic`."""
        self.look_at = 0.0
        """When to look for such jobs without another reason."""
        self._settled: deque[str] = deque()
        self._maybe_settled: set[str] = set()
        self._put_off: deque[PutOff] = deque()
        self._requests = itertools.count()
        self._asked: set[int] = set()
        self._renew_every = max(0.5, min(visibility_timeout / 4, 30.0))
        self._renewed_at = 0.0
        self._beat_at = time.monotonic()
        self.presence = Presence(client.connection_pool, keys.present + self.owner)
        self.keeper = keep(self)
        self._lock = threading.Lock()
        self._is_allowed = False

    @property
    def owned(self) -> str:
        """The key of what this worker owns."""
        return self.keys.owned_by + self.owner

    @property
    def bell(self) -> str:
        """The channel by which this worker is woken."""
        return self.keys.bells + self.owner

    def enter(self, channel: Consumer) -> None:
        """Let a channel reserve jobs under this lease, which is kept from now on.

        :raises ConfigurationError: if the server does not let this user do what that takes.
        """
        if not self._is_allowed:
            permissions.require(self.client, self.keys)
            self._is_allowed = True
        with self._lock:
            self.channels.add(channel)
            if not self.keeper.runs:
                self.beat()  # before the first job, which may keep every other thread from running
                self.keeper.start()

    def leave(self, channel: Consumer) -> None:
        """Take a channel off; with the last one, and nothing owned, the lease ends."""
        with self._lock:
            self.channels.discard(channel)
            if self.channels:
                return
        try:
            self.flush()
            self.return_unwanted()
            if not self.held:
                self.keeper.stop()
                self._requeue("end", self.owner, FIRST, [])
        except (redis.RedisError, OSError) as exc:
            logger.info("the lease of %s is left to end by itself: %r", self.owner, exc)

    # What is settled travels with the next reservation; see LeasedChannel and Keeper.

    def has_reserved(self, job: str) -> bool:
        """Say whether a message was reserved for this worker: nobody reserves those of a fan-out exchange."""
        return job.startswith(f"{self.owner}.")

    def settle(self, job: str) -> None:
        """Note that a job is done with; Redis learns it with the next request."""
        if job in self.lost:
            self.lost.discard(job)
            self.is_late(1, News())
            return
        if not self.has_reserved(job):
            return
        self._settled.append(job)
        self.held.discard(job)
        for channel in tuple(self.channels)[:1]:
            channel.wake()

    def put_off(self, job: str, due: float, name: str) -> bool:
        """Have a job wait on the server until its time has come; Redis learns it with the next request.

        :param due: in seconds since the epoch.
        :param name: the job's id.
        :returns: whether it is this worker's to be put off.
        """
        if job in self.lost:
            self.lost.discard(job)
            return True  # whoever has it now puts it off
        if job not in self.held:
            return False
        self._put_off.append(PutOff(job, due, name))
        self.held.discard(job)
        self.due_at = min(self.due_at, time.monotonic() + due - time.time())
        self.look_at = min(self.look_at, self.due_at)
        for channel in tuple(self.channels)[:1]:
            channel.wake()
        return True

    def begin(self, job: str) -> bool:
        """Note that a job is begun that has been with a dead worker; say whether it is this worker's still."""
        return not self.has_reserved(job) or bool(scripts.MARK_STARTED(self.client, [self.owned], [job]))

    def forget(self, job: str) -> None:
        """Know no more of a job that is somebody else's and was not begun here."""
        self.held.discard(job)
        self.lost.discard(job)

    def settle_now(self, job: str) -> bool:
        """Settle a job and wait for Redis to know; say whether it was this worker's still."""
        if not self.has_reserved(job):
            return True
        self.held.discard(job)
        return not self._reserve_nothing(News([job]))

    def take_news(self) -> News:
        """Return what Redis does not know yet; give it back by :meth:`take_back` if it never heard."""
        return News(_taken(self._settled, 500), _taken(self._put_off, 250))

    def take_back(self, news: News) -> None:
        """Take back what Redis may not have heard, or may have done without this worker hearing of it."""
        self._maybe_settled.update(news.settled)
        self._settled.extend(news.settled)
        self._put_off.extend(news.put_off)

    @property
    def has_news(self) -> bool:
        """Whether there is something that Redis does not know yet."""
        return bool(self._settled or self._put_off)

    def flush(self) -> int:
        """Tell Redis all that it does not know yet, and return how many acknowledgements came too late."""
        before = self.late
        while news := self.take_news():
            try:
                late = self._reserve_nothing(news)
            except BaseException:
                self.take_back(news)
                raise
            self.is_late(late, news)
        return self.late - before

    def is_late(self, number: int, news: News) -> None:
        """Note acknowledgements that were not Redis's to take any more.

        :param news: by which Redis was told of them.
        """
        doubtful = self._maybe_settled.intersection(news.settled) if self._maybe_settled else set()
        self._maybe_settled -= doubtful
        if number > len(doubtful):
            self.late += number - len(doubtful)
            logger.warning(LATE, number - len(doubtful))
        if number and doubtful:
            logger.info(UNSURE, min(number, len(doubtful)))

    def ask(self) -> int:
        """Return the number of a new request; the jobs that it reserves are numbered from there."""
        request = next(self._requests)
        self._asked.add(request)
        return request * names.BATCH

    def answered(self, number: int) -> None:
        """Note that a request has its answer, or will never have one."""
        self._asked.discard(number // names.BATCH)

    def requeue(self, jobs: Collection[str], how: Return = AS_IT_CAME) -> int:
        """Put jobs of this worker back, and return how many were still its own.

        :raises redis.RedisError: if the server cannot be reached, or refuses.
        """
        left = sorted(filter(self.has_reserved, jobs), key=names.number_of, reverse=True)
        back = 0
        while left:
            found = messages.read(self.client, self.keys, self.owner, left, how.mark)
            if how.to:
                found = [job._replace(to=how.to) for job in found]
            back += self._requeue("mine", self.owner, how.push, found)
            self.held.difference_update(left[: len(found)])
            del left[: len(found)]
        return back

    def give_back(self, jobs: Collection[str], how: Return = AS_IT_CAME) -> None:
        """Have jobs put back that are not wanted here: now, or as soon as the server can be reached.

        What nobody has reserved has no queue to go to.
        """
        jobs = [job for job in jobs if self.has_reserved(job)]
        self.held.difference_update(jobs)
        self.unwanted.update(dict.fromkeys(jobs, how))
        try:
            self.return_unwanted()
        except (redis.RedisError, OSError) as exc:
            logger.info("%d jobs go back as soon as Redis takes them: %r", len(jobs), exc)

    def return_unwanted(self) -> None:
        """Put back what could not be put back before.

        :raises redis.RedisError: if it cannot be put back now either.
        """
        waiting = dict(self.unwanted)
        for how in dict.fromkeys(waiting.values()):
            jobs = [job for job, its in waiting.items() if its == how]
            self.requeue(jobs, how)
            for job in jobs:
                self.unwanted.pop(job, None)

    def bury(self, job: str) -> None:
        """Move a job that is no message at all to the dead letters."""
        row = messages.read_raw(self.client, self.keys, job)
        self._requeue(
            "mine", self.owner, LAST, [messages.Returned(job, self.keys.prefix + messages.DEAD_LETTERS, 0, row)]
        )
        self.held.discard(job)

    # What the keeper does once a second.

    def beat(self) -> None:
        """Renew the lease, and the presence if Redis does not know of it; take over from workers that are dead."""
        now = time.monotonic()
        renews = now - self._renewed_at >= self._renew_every
        place = self.workplace
        arguments = (
            self.owner, place.lease_seconds, OUTAGE, int(renews), place.patience(), self.keys.present, self.keys.heirs,
            ALONE,
        )  # fmt: skip
        was_over, connections, gone, *over = scripts.RENEW(self.client, self._beat_keys, arguments)
        if renews:
            self._renewed_at = now
        silent, self._beat_at = now - self._beat_at, now
        if was_over:
            self.find_lost(silent)
        for number, owner in enumerate(map(bytes_to_str, over)):
            self.take_over(owner, "over", CLOSED if number < gone else SILENT)
        if not connections:
            self.presence.renew()

    @property
    def is_due(self) -> bool:
        """Whether the time of a job that waits may have come."""
        return time.monotonic() >= self.due_at

    def seconds_to_look(self, most: float) -> float:
        """Return the seconds until then, within reason."""
        return max(SHORTEST, min(most, self.look_at - time.monotonic()))

    def move_due(self) -> None:
        """Move jobs whose time has come into their queues, whoever consumes these."""
        moved, following = scripts.DUE(self.client, [self.keys.waiting], ())
        now = time.monotonic()
        self.due_at = now + following / 1000 if following >= 0 else math.inf
        self.look_at = self.due_at if moved else max(self.due_at, now + PAUSE)

    def count_waiting(self) -> int:
        """Return how many jobs of the queues that are consumed here wait for their time."""
        if self.due_at == math.inf:
            return 0
        lists = set(self.client.zrange(self.keys.waiting, 0, -1))
        lists &= {name for channel in tuple(self.channels) for name in channel.consumed_lists()}
        with self.client.pipeline(transaction=False) as pipe:
            for name in lists:
                pipe.zcard(self.keys.waiting_for(bytes_to_str(name)))
            return sum(pipe.execute())

    def take_over(self, owner: str, proof: str, why: str) -> int:
        """Put the jobs of a dead worker back, and return how many; what takes longer is for the next beat.

        :param proof: ``over`` if its lease is over, ``gone`` if it is not connected; Redis looks once more.
        :param why: for people.
        """
        back = 0
        left = messages.owned(self.client, self.keys, owner)
        end = time.monotonic() + SPELL
        while True:
            found = messages.read(self.client, self.keys, owner, left, messages.died_with)
            answer = self._requeue(proof, owner, FIRST, found)
            if answer < 0:
                break
            back += answer
            del left[: len(found)]
            if not left or time.monotonic() > end:
                break
        if back:
            logger.warning("worker %s %s: %d jobs of it are back in their queues", owner, why, back)
        return back

    def take_over_former_self(self) -> None:
        """Put back at once what a worker of this name has left behind, if it is not connected."""
        for owner in self._namesakes():
            self.take_over(owner, "gone", CLOSED)

    def find_lost(self, silent: float) -> None:
        """Find jobs that are held here and owned by somebody else: this worker was taken for dead.

        :param silent: for how many seconds it has not renewed its lease.
        """
        held = set(self.held)
        if not held:
            return
        owned = set(messages.owned(self.client, self.keys, self.owner))
        lost = {job for job in held - owned if job in self.held}
        if lost:
            self.lost |= lost
            self.held -= lost
            another = f". {ANOTHER % self.workplace.name}" if self._namesakes() else ""
            logger.warning(TAKEN if silent > self.workplace.lease_seconds else VANISHED, silent, len(lost), another)

    def find_unknown(self) -> set[str]:
        """Return jobs that are owned by this worker and unknown to it: their answer never came."""
        unknown = set(messages.owned(self.client, self.keys, self.owner))
        unknown -= self.held | self.unwanted.keys() | set(self._settled) | {late.job for late in tuple(self._put_off)}
        return {job for job in unknown if names.number_of(job) // names.BATCH not in self._asked}

    def _namesakes(self) -> list[str]:
        """Return the other workers of this name that have a lease."""
        mine = f"{self.workplace.name}/"
        owners = map(bytes_to_str, self.client.zrange(self.keys.owners, 0, -1))
        return [owner for owner in owners if owner.startswith(mine) and owner != self.owner]

    @property
    def _beat_keys(self) -> list[str]:
        return [self.keys.owners, self.owned, self.keys.clock, self.keys.index, self.keys.patience]

    def _reserve_nothing(self, news: News) -> int:
        nobody = self.keys.access
        keys = [self.keys.unacked, self.keys.index, self.owned, self.keys.owners, nobody, nobody, self.keys.waiting]
        arguments = (self.owner, 0, 0, 0, 0, 0, 0, "", 0, 0, *news.told())
        return int(scripts.RESERVE(self.client, keys, arguments)[0])

    def _requeue(self, why: str, owner: str, push: str, jobs: Sequence[Returned]) -> int:
        keys = [
            self.keys.unacked, self.keys.index, self.keys.owned_by + owner, self.keys.owners, self.keys.patience,
            self.keys.heirs + owner,
        ]  # fmt: skip
        arguments = (owner, why, self.keys.present + owner, push, *(part for job in jobs for part in job))
        return int(scripts.REQUEUE(self.client, keys, arguments))


def _taken(waiting: deque[Any], most: int) -> list[Any]:
    """Take so many off a queue that other threads add to."""
    taken: list[Any] = []
    try:
        while len(taken) < most:
            taken.append(waiting.popleft())
    except IndexError:
        pass
    return taken
