"""A worker's own jobs on their way back into their queues."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import redis

from celerykit.transports.redis import messages
from celerykit.transports.redis.keys import is_owned_by, number_of
from celerykit.transports.redis.messages import AS_IT_CAME, LAST, Return, Returned

if TYPE_CHECKING:
    from collections.abc import Collection

    from celerykit.transports.redis.keys import Keys

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


class Requeuer:
    """Puts jobs of one worker back, and holds them no more; what cannot go back now does so later."""

    def __init__(self, client: Any, keys: Keys, owner: str, held: set[str]):
        """:param held: the jobs that the worker holds."""
        self.unwanted: dict[str, Return] = {}
        """Jobs that are to go back and could not be put back yet."""
        self._client = client
        self._keys = keys
        self._owner = owner
        self._held = held

    def requeue(self, jobs: Collection[str], how: Return = AS_IT_CAME) -> int:
        """Put jobs of this worker back, and return how many were still its own.

        :raises redis.RedisError: if the server cannot be reached, or refuses.
        """
        left = sorted((job for job in jobs if is_owned_by(self._owner, job)), key=number_of, reverse=True)
        back = 0
        while left:
            found = messages.read(self._client, self._keys, self._owner, left, how.mark)
            if how.to:
                found = [job._replace(to=how.to) for job in found]
            back += messages.requeue(self._client, self._keys, self._owner, "mine", how.push, found)
            self._held.difference_update(left[: len(found)])
            del left[: len(found)]
        return back

    def give_back(self, jobs: Collection[str], how: Return = AS_IT_CAME) -> None:
        """Have jobs put back that are not wanted here: now, or as soon as the server can be reached.

        What nobody has reserved has no queue to go to.
        """
        jobs = [job for job in jobs if is_owned_by(self._owner, job)]
        self._held.difference_update(jobs)
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
        row = messages.read_raw(self._client, self._keys, job)
        dead = Returned(job, self._keys.prefix + messages.DEAD_LETTERS, 0, row)
        messages.requeue(self._client, self._keys, self._owner, "mine", LAST, [dead])
        self._held.discard(job)
