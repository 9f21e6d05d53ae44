"""The names in Redis: Kombu's own, which stock workers share, and the kit's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

BATCH = 100
"""Jobs that one reservation may hold; reservations are numbered in steps of it."""


@dataclass(frozen=True)
class Keys:
    """Every key but the queues', with the app's ``global_keyprefix``."""

    prefix: str
    unacked: str
    index: str

    @property
    def owners(self) -> str:
        """Sorted set: each worker with the time at which its lease ends."""
        return f"{self.prefix}celerykit.owners"

    @property
    def clock(self) -> str:
        """String: when a worker last renewed its lease."""
        return f"{self.prefix}celerykit.clock"

    @property
    def bells(self) -> str:
        """Channels, with a worker's name appended: somebody wakes it."""
        return f"{self.prefix}celerykit.bell:"

    @property
    def present(self) -> str:
        """Channels, with a worker's name appended: that worker is connected. Nothing is published to them."""
        return f"{self.prefix}celerykit.present:"

    @property
    def patience(self) -> str:
        """Sorted set: each worker with the time until which it may be silent while it is connected."""
        return f"{self.prefix}celerykit.patience"

    @property
    def heirs(self) -> str:
        """Strings, with a dead worker's name appended: who puts its jobs back."""
        return f"{self.prefix}celerykit.heir:"

    @property
    def owned_by(self) -> str:
        """Hashes, with a worker's name appended: each job that it has reserved, with the list it came from."""
        return f"{self.prefix}celerykit.owned:"

    @property
    def access(self) -> str:
        """A key that is never there: what a user may do is tried on it."""
        return f"{self.prefix}celerykit.access"

    @property
    def revoked(self) -> str:
        """Sorted set: each revocation with the time at which it was last said."""
        return f"{self.prefix}celerykit.revoked"

    @property
    def waiting(self) -> str:
        """Sorted set: each list that jobs wait for, with the time to look at them next; see ``waiting.lua``."""
        return f"{self.prefix}celerykit.waiting"

    @property
    def waiting_jobs(self) -> str:
        """Hash: each job that waits for its time, with its list and its message."""
        return f"{self.waiting}.jobs"

    def waiting_for(self, queue_list: str) -> str:
        """Name a sorted set: the jobs that wait for a list, each with its time."""
        return f"{self.waiting}:{queue_list}"

    def line(self, queues: Iterable[str]) -> str:
        """Name a sorted set: idle workers that consume just these queues, those that wait longest first."""
        return f"{self.prefix}celerykit.line:{_digest(queues)}"

    def doorman(self, queues: Iterable[str]) -> str:
        """Name a string: that one of them whom Redis tells of the next job."""
        return f"{self.prefix}celerykit.doorman:{_digest(queues)}"


def of(channel: Any) -> Keys:
    """Return the names that a channel's options ask for."""
    prefix = channel.global_keyprefix
    return Keys(prefix, prefix + channel.unacked_key, prefix + channel.unacked_index_key)


def number_of(job: str) -> int:
    """Return a reservation's number among those of its worker."""
    return int(job.rpartition(".")[2])


def is_owned_by(owner: str, job: str) -> bool:
    """Say whether a message was reserved for a worker: nobody reserves those of a fan-out exchange."""
    return job.startswith(f"{owner}.")


def _digest(queues: Iterable[str]) -> str:
    """Return a short name of a set of queues."""
    return hashlib.sha256("\0".join(sorted(queues)).encode()).hexdigest()[:12]
