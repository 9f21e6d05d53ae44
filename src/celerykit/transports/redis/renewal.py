"""Renews a worker's lease, and sees by that whose lease is over."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from kombu.utils.encoding import bytes_to_str

from celerykit.transports.redis import messages, scripts
from celerykit.transports.redis.takeover import CLOSED, SILENT, Takeover

if TYPE_CHECKING:
    from celerykit.transports.redis.lease import Lease

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

OUTAGE = 3.0
"""Seconds without a beat of any worker after which no lease has run out: it was the server that was away."""
ALONE = 3
"""Seconds for which one worker alone puts the jobs of a dead one back, if it says no more of it."""
TAKEN = (
    "this worker was taken for dead, for it was not heard of for %.0f s: %d of its jobs were given to others. Those "
    "that run here may run twice, and the rest is left to them%s"
)
VANISHED = (
    "this worker was heard of %.0f s ago, and yet %d of its jobs are not its own in Redis any more, as after a "
    "failover that loses something. Those that run here may run twice, and the rest is left alone%s"
)
ANOTHER = "Another worker of the name %s runs: give each machine a host name of its own"


class Renewal:
    """What tells the others that a worker lives, once a second."""

    def __init__(self, lease: Lease, visibility_timeout: float):
        """:param visibility_timeout: seconds after which stock workers would put back what is not renewed."""
        self.takeover = Takeover(lease)
        self._lease = lease
        self._every = max(0.5, min(visibility_timeout / 4, 30.0))
        self._renewed_at = 0.0
        self._beat_at = time.monotonic()

    def beat(self) -> None:
        """Renew the lease, and the presence if Redis does not know of it; take over from workers that are dead."""
        lease, keys, place = self._lease, self._lease.keys, self._lease.workplace
        now = time.monotonic()
        renews = now - self._renewed_at >= self._every
        names = [keys.owners, lease.owned, keys.clock, keys.index, keys.patience]
        arguments = (
            lease.owner, place.lease_seconds, OUTAGE, int(renews), place.patience(), keys.present, keys.heirs, ALONE,
        )  # fmt: skip
        was_over, connections, gone, *over = scripts.RENEW(lease.client, names, arguments)
        if renews:
            self._renewed_at = now
        silent, self._beat_at = now - self._beat_at, now
        if was_over:
            self._find_lost(silent)
        for number, owner in enumerate(map(bytes_to_str, over)):
            self.takeover.take_over(owner, "over", CLOSED if number < gone else SILENT)
        if not connections:
            lease.presence.renew()

    def _find_lost(self, silent: float) -> None:
        """Find jobs that are held here and owned by somebody else: this worker was taken for dead.

        :param silent: for how many seconds it has not renewed its lease.
        """
        lease = self._lease
        held = set(lease.held)
        if not held:
            return
        owned = set(messages.owned(lease.client, lease.keys, lease.owner))
        lost = {job for job in held - owned if job in lease.held}
        if lost:
            lease.lost.update(lost)
            lease.held.difference_update(lost)
            another = f". {ANOTHER % lease.workplace.name}" if self.takeover.namesakes() else ""
            logger.warning(TAKEN if silent > lease.workplace.lease_seconds else VANISHED, silent, len(lost), another)
