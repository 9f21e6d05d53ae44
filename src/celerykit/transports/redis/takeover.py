"""The jobs of workers that are dead, on their way back into their queues."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from kombu.utils.encoding import bytes_to_str

from celerykit.transports.redis import messages
from celerykit.transports.redis.messages import FIRST

if TYPE_CHECKING:
    from celerykit.transports.redis.lease import Lease

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

SPELL = 1.0
"""Seconds of putting the jobs of a dead worker back before the next beat."""
CLOSED = "is not connected any more"
SILENT = "is connected, but has been silent for longer than a worker that is not stuck"


class Takeover:
    """Puts the jobs of other workers back, in the name of a worker that lives."""

    def __init__(self, lease: Lease):
        """:param lease: of the worker that lives."""
        self._lease = lease

    def take_over(self, owner: str, proof: str, why: str) -> int:
        """Put the jobs of a dead worker back, and return how many; what takes longer is for the next beat.

        :param proof: ``over`` if its lease is over, ``gone`` if it is not connected; Redis looks once more.
        :param why: for people.
        """
        client, keys = self._lease.client, self._lease.keys
        back = 0
        left = messages.owned(client, keys, owner)
        end = time.monotonic() + SPELL
        while True:
            found = messages.read(client, keys, owner, left, messages.died_with)
            answer = messages.requeue(client, keys, owner, proof, FIRST, found)
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
        for owner in self.namesakes():
            self.take_over(owner, "gone", CLOSED)

    def namesakes(self) -> list[str]:
        """Return the other workers of this name that have a lease."""
        lease = self._lease
        mine = f"{lease.workplace.name}/"
        owners = map(bytes_to_str, lease.client.zrange(lease.keys.owners, 0, -1))
        return [owner for owner in owners if owner.startswith(mine) and owner != lease.owner]
