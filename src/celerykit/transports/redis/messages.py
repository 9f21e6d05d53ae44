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
    from collections.abc import Callable, Collection

    from celerykit.transports.redis.keys import Keys

DEAD_LETTERS = deadletters.QUEUE
BEGUN = "!"
"""Before the list that a job came from: it was delivered before, and is begun again."""
FIRST, LAST = "RPUSH", "LPUSH"
"""Where a job goes in its queue: workers take it from the right."""


class Returned(NamedTuple):
    """A job on its way back."""

    name: str
    origin: str
    message: bytes


def owned(client: Any, keys: Keys, owner: str) -> list[str]:
    """Return a worker's jobs, the newest first: put back in this order, the oldest is the next to be taken."""
    return sorted(map(bytes_to_str, client.hkeys(keys.owned_by + owner)), key=number_of, reverse=True)


def redelivered(job: dict[str, Any], _origin: str) -> None:
    """Mark a job as Kombu does."""
    job["headers"]["redelivered"] = True
    job["properties"]["delivery_info"]["redelivered"] = True


def died_with(job: dict[str, Any], origin: str) -> None:
    """Count the death of a job's worker, too, if the job may be why; from the second on, have it wait for a while.

    Jobs that were there together wait for different times: one of them kills its worker, and the others do not.
    """
    redelivered(job, origin)
    headers = job["headers"]
    deaths = int(headers.get(deadletters.DELIVERIES, 0))
    if not origin.startswith(BEGUN) and (deaths or _waits_for_its_time(headers)):
        return
    headers[deadletters.DELIVERIES] = deaths + 1
    if deaths:
        delay = deadletters.redelivery_delay(deaths) * random.uniform(0.5, 2.0)  # noqa: S311  # nobody's secret
        headers["eta"] = (datetime.now(timezone.utc) + timedelta(seconds=delay)).isoformat()


class Return(NamedTuple):
    """How a worker gives a job back."""

    mark: Callable[[dict[str, Any], str], None] = redelivered
    """Changes the job, told the list that it came from."""
    push: str = FIRST
    to: str = ""
    """The list that it goes to, nothing for the one that it came from."""


AS_IT_CAME = Return()


def read(
    client: Any,
    keys: Keys,
    owner: str,
    jobs: Collection[str],
    mark: Callable[[dict[str, Any], str], None] = redelivered,
) -> list[Returned]:
    """Return jobs as they are to go back, the newest first.

    :param mark: changes a job, told the list that it came from.
    """
    if not jobs:
        return []
    names = sorted(jobs, key=number_of, reverse=True)
    origins = [bytes_to_str(origin or b"") for origin in client.hmget(keys.owned_by + owner, names)]
    rows = client.hmget(keys.unacked, names)
    return [
        Returned(name, origin.removeprefix(BEGUN), _marked(_message(row or b""), origin, mark))
        for name, origin, row in zip(names, origins, rows, strict=True)
    ]


def read_raw(client: Any, keys: Keys, job: str) -> bytes:
    """Return a job's message as it came."""
    return _message(client.hget(keys.unacked, job) or b"")


def _message(row: bytes) -> bytes:
    """Return the message of a row of Kombu's: ``[message, exchange, routing key]``."""
    return row[1 : row.rindex(b',"",')] if b',"",' in row else row


def _marked(message: bytes, origin: str, mark: Callable[[dict[str, Any], str], None]) -> bytes:
    """Change what is to be changed in a message; whatever else is in it stays as it is."""
    try:
        job = json.loads(message)
        mark(job, origin)
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
