"""A worker's lease: while it lasts, the jobs that the worker has reserved are nobody else's."""

from __future__ import annotations

import itertools
import logging
import threading
import uuid
from typing import TYPE_CHECKING, Any

import redis

from celerykit.transports.redis import keys as names
from celerykit.transports.redis import messages, permissions, scripts
from celerykit.transports.redis.due_jobs import DueJobs
from celerykit.transports.redis.messages import FIRST
from celerykit.transports.redis.outbox import Outbox
from celerykit.transports.redis.presence import Presence
from celerykit.transports.redis.requeuer import Requeuer
from celerykit.transports.redis.reservation import News, PutOff

if TYPE_CHECKING:
    from collections.abc import Callable

    from celerykit.transports.redis.consumer_info import Workplace
    from celerykit.transports.redis.interfaces import Consumer, Keeping
    from celerykit.transports.redis.keys import Keys

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


class Lease:
    """What one process owns on one server, over all connections that it makes."""

    def __init__(self, client: Any, keys: Keys, workplace: Workplace, keep: Callable[[Lease], Keeping]):
        """:param keep: returns whoever renews the lease, and does what else is due each second."""
        self.client = client
        self.keys = keys
        self.workplace = workplace
        self.owner = f"{workplace.name}/{uuid.uuid4().hex[:12]}"
        self.channels: set[Consumer] = set()
        self.held: set[str] = set()
        """Jobs that were delivered here and are not settled."""
        self.lost: set[str] = set()
        """Jobs that somebody else was given meanwhile; what still runs of them runs twice."""
        self.outbox = Outbox()
        self.due_jobs = DueJobs(client, keys)
        self.requeuer = Requeuer(client, keys, self.owner, self.held)
        self.presence = Presence(client.connection_pool, keys.present + self.owner)
        self._requests = itertools.count()
        self._asked: set[int] = set()
        self._lock = threading.Lock()
        self._is_allowed = False
        self.keeper = keep(self)

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
                self.keeper.renew()  # before the first job, which may keep every other thread from running
                self.keeper.start()

    def leave(self, channel: Consumer | None) -> None:
        """Take a channel off; with the last one, and nothing owned, the lease ends.

        :param channel: None for one that has reserved nothing.
        """
        with self._lock:
            if channel is not None:
                self.channels.discard(channel)
            if self.channels:
                return
        try:
            self.flush()
            self.requeuer.return_unwanted()
            if not self.held:
                self.keeper.stop()
                messages.requeue(self.client, self.keys, self.owner, "end", FIRST, [])
        except (redis.RedisError, OSError) as exc:
            logger.info("the lease of %s is left to end by itself: %r", self.owner, exc)

    # What is settled travels with the next reservation; see Fetcher and Keeper.

    def settle(self, job: str) -> None:
        """Note that a job is done with; Redis learns it with the next request."""
        if job in self.lost:
            self.lost.discard(job)
            self.outbox.note_late(1, News())
            return
        if not names.is_owned_by(self.owner, job):
            return
        self.outbox.settled.append(job)
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
        self.outbox.put_off.append(PutOff(job, due, name))
        self.held.discard(job)
        self.due_jobs.expect(due)
        for channel in tuple(self.channels)[:1]:
            channel.wake()
        return True

    def begin(self, job: str) -> bool:
        """Note that a job is begun that has been with a dead worker; say whether it is this worker's still."""
        if not names.is_owned_by(self.owner, job):
            return True
        return bool(scripts.MARK_STARTED(self.client, [self.owned], [job]))

    def forget(self, job: str) -> None:
        """Know no more of a job that is somebody else's and was not begun here."""
        self.held.discard(job)
        self.lost.discard(job)

    def settle_now(self, job: str) -> bool:
        """Settle a job and wait for Redis to know; say whether it was this worker's still."""
        if not names.is_owned_by(self.owner, job):
            return True
        self.held.discard(job)
        return not self._reserve_nothing(News([job]))

    def flush(self) -> int:
        """Tell Redis all that it does not know yet, and return how many acknowledgements came too late."""
        outbox = self.outbox
        before = outbox.late
        while news := outbox.take():
            try:
                late = self._reserve_nothing(news)
            except BaseException:
                outbox.take_back(news)
                raise
            outbox.note_late(late, news)
        return outbox.late - before

    def ask(self) -> int:
        """Return the number of a new request; the jobs that it reserves are numbered from there."""
        request = next(self._requests)
        self._asked.add(request)
        return request * names.BATCH

    def answered(self, number: int) -> None:
        """Note that a request has its answer, or will never have one."""
        self._asked.discard(number // names.BATCH)

    def find_unknown(self) -> set[str]:
        """Return jobs that are owned by this worker and unknown to it: their answer never came."""
        unknown = set(messages.owned(self.client, self.keys, self.owner))
        unknown -= self.held | self.requeuer.unwanted.keys() | self.outbox.jobs
        return {job for job in unknown if names.number_of(job) // names.BATCH not in self._asked}

    def count_waiting(self) -> int:
        """Return how many jobs of the queues that are consumed here wait for their time."""
        return self.due_jobs.count(name for channel in tuple(self.channels) for name in channel.consumed_lists())

    def _reserve_nothing(self, news: News) -> int:
        nobody = self.keys.access
        keys = [self.keys.unacked, self.keys.index, self.owned, self.keys.owners, nobody, nobody, self.keys.waiting]
        arguments = (self.owner, 0, 0, 0, 0, 0, 0, "", 0, 0, *news.told())
        return int(scripts.RESERVE(self.client, keys, arguments)[0])
