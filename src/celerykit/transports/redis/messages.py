"""Reserved jobs as they lie in Redis, and what changes in them on the way back into a queue."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from kombu.utils.encoding import bytes_to_str

from celerykit import deadletters
from celerykit.transports.redis.keys import number_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from celerykit.transports.redis.keys import Keys

DEAD_LETTERS = deadletters.QUEUE
BEGUN = "!"
"""Before the list that a job came from: it was delivered before, and is begun again."""


class Returned(NamedTuple):
    """A job on its way back."""

    name: str
    origin: str
    message: bytes


def owned(client: Any, keys: Keys, owner: str) -> list[str]:
    """Return a worker's jobs, the newest first: put back in this order, the oldest is the next to be taken."""
    return sorted(map(bytes_to_str, client.hkeys(keys.owned_by + owner)), key=number_of, reverse=True)


def read(client: Any, keys: Keys, owner: str, jobs: Collection[str], *, counted: bool = False) -> list[Returned]:
    """Return jobs as they are to go back.

    :param counted: count this as a delivery that ended with the death of its worker, for those that may be why.
    """
    if not jobs:
        return []
    names = sorted(jobs, key=number_of, reverse=True)
    origins = client.hmget(keys.owned_by + owner, names)
    rows = client.hmget(keys.unacked, names)
    return [
        _returned(name, bytes_to_str(origin or b""), _message(row or b""), counted=counted)
        for name, origin, row in zip(names, origins, rows, strict=True)
    ]


def read_raw(client: Any, keys: Keys, job: str) -> bytes:
    """Return a job's message as it came."""
    return _message(client.hget(keys.unacked, job) or b"")


def _message(row: bytes) -> bytes:
    """Return the message of a row of Kombu's: ``[message, exchange, routing key]``."""
    return row[1 : row.rindex(b',"",')] if b',"",' in row else row


def _returned(name: str, origin: str, message: bytes, *, counted: bool) -> Returned:
    """Mark a message as Kombu does; whatever else is in it stays as it is."""
    begun = origin.startswith(BEGUN)
    origin = origin.removeprefix(BEGUN)
    try:
        job = json.loads(message)
        headers = job["headers"]
        headers["redelivered"] = True
        job["properties"]["delivery_info"]["redelivered"] = True
        if counted:
            _count(headers, begun=begun)
    except (ValueError, KeyError, TypeError):
        return Returned(name, origin, message)  # none of Celery's
    return Returned(name, origin, json.dumps(job).encode())


def _count(headers: dict[str, Any], *, begun: bool) -> None:
    """Count the death of a job's worker, if the job may be why; from the second on, let it wait for its next turn.

    Jobs that were there together wait for different times: one of them kills its worker, and the others do not.
    """
    deaths = int(headers.get(deadletters.DELIVERIES, 0))
    if not begun and (deaths or _waits_for_its_time(headers)):
        return
    headers[deadletters.DELIVERIES] = deaths + 1
    if deaths:
        delay = deadletters.redelivery_delay(deaths) * random.uniform(0.5, 2.0)  # noqa: S311  # nobody's secret
        headers["eta"] = (datetime.now(timezone.utc) + timedelta(seconds=delay)).isoformat()


def _waits_for_its_time(headers: dict[str, Any]) -> bool:
    """Say whether a job cannot have begun."""
    try:
        eta = datetime.fromisoformat(headers.get("eta") or "")
    except ValueError:
        return False
    return eta.astimezone(timezone.utc) > datetime.now(timezone.utc)
