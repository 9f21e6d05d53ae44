"""Reserved jobs as they lie in Redis, and what changes in them on the way back into a queue."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from kombu.utils.encoding import bytes_to_str

from celerykit import deadletters
from celerykit.transports.redis.keys import number_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from celerykit.transports.redis.keys import Keys

DEAD_LETTERS = deadletters.QUEUE


def owned(client: Any, keys: Keys, owner: str) -> list[str]:
    """Return a worker's jobs, the newest first: put back in this order, the oldest is the next to be taken."""
    return sorted(map(bytes_to_str, client.hkeys(keys.owned_by + owner)), key=number_of, reverse=True)


def read(
    client: Any, keys: Keys, owner: str, jobs: Collection[str], *, counted: bool = False
) -> list[tuple[str, str, bytes]]:
    """Return each job with the list that it came from, and its message as it is to go back there.

    :param counted: count this as a delivery that ended with the death of its worker.
    """
    if not jobs:
        return []
    names = sorted(jobs, key=number_of, reverse=True)
    origins = client.hmget(keys.owned_by + owner, names)
    rows = client.hmget(keys.unacked, names)
    return [
        (name, origin or "", b"" if row is None else _redelivered(_message(row), counted=counted))
        for name, origin, row in zip(names, origins, rows, strict=True)
    ]


def read_raw(client: Any, keys: Keys, job: str) -> bytes:
    """Return a job's message as it came."""
    return _message(client.hget(keys.unacked, job) or b"")


def _message(row: bytes) -> bytes:
    """Return the message of a row of Kombu's: ``[message, exchange, routing key]``."""
    return row[1 : row.rindex(b',"",')] if b',"",' in row else row


def _redelivered(message: bytes, *, counted: bool) -> bytes:
    """Mark a message as Kombu does; whatever else is in it stays as it is."""
    try:
        job = json.loads(message)
        headers = job["headers"]
        headers["redelivered"] = True
        if counted and not _waits_for_its_time(headers):
            headers[deadletters.DELIVERIES] = int(headers.get(deadletters.DELIVERIES, 0)) + 1
        job["properties"]["delivery_info"]["redelivered"] = True
    except (ValueError, KeyError, TypeError):
        return message  # none of Celery's
    return json.dumps(job).encode()


def _waits_for_its_time(headers: dict[str, Any]) -> bool:
    """Say whether a job cannot have begun."""
    try:
        eta = datetime.fromisoformat(headers.get("eta") or "")
    except ValueError:
        return False
    return eta.astimezone(timezone.utc) > datetime.now(timezone.utc)
