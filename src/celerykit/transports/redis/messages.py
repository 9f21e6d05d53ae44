"""Reserved jobs as they lie in Redis, and what changes in them on the way back into a queue."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from kombu.utils.encoding import bytes_to_str

from celerykit.messages import dead_letters
from celerykit.transports.redis import scripts
from celerykit.transports.redis.keys import BATCH, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celerykit.transports.redis.keys import Keys

DEAD_LETTERS = dead_letters.QUEUE
BEGUN = "!"
"""Before the list that a job came from: it was delivered before, and is begun again."""
BODILESS = b'{"body": "'
"""A message whose body stays in Redis begins like this, and goes on with the quote after it."""
FIRST, LAST = "RPUSH", "LPUSH"
"""Where a job goes in its queue: workers take it from the right."""


MOST_BYTES = 1 << 20
"""A step of the server that reads jobs, or puts them back, ends with the job that passes this."""


class Returned(NamedTuple):
    """A job on its way back."""

    name: str
    to: str
    """The list that it goes to."""
    kept: int
    """How many bytes of its message stay as they are, and where they are: up to the end of its body."""
    rest: bytes


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
    deaths = int(headers.get(dead_letters.DELIVERIES, 0))
    if not origin.startswith(BEGUN) and (deaths or _waits_for_its_time(headers)):
        return
    headers[dead_letters.DELIVERIES] = deaths + 1
    if deaths:
        delay = dead_letters.redelivery_delay(deaths) * random.uniform(0.5, 2.0)  # noqa: S311  # nobody's secret
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
    jobs: Sequence[str],
    mark: Callable[[dict[str, Any], str], None] = redelivered,
) -> list[Returned]:
    """Return jobs as they are to go back: so many of the first as one step of the server may move.

    :param mark: changes a job, told the list that it came from.
    """
    if not jobs:
        return []
    found = scripts.AROUND(client, [keys.unacked, keys.owned_by + owner], [MOST_BYTES, *jobs[:BATCH]])
    returned = []
    for name, origin, kept, row in zip(jobs, found[::3], found[1::3], found[2::3], strict=False):
        came_from = bytes_to_str(origin)
        rest = _marked(_until_exchange(row) if kept else _message(row), came_from, mark, BODILESS if kept else b"")
        returned.append(Returned(name, came_from.removeprefix(BEGUN), kept, rest))
    return returned


def requeue(client: Any, keys: Keys, owner: str, why: str, push: str, jobs: Sequence[Returned]) -> int:
    """Put jobs of a worker into lists in one step, and return how many were still its own, or -1 if it lives.

    :param why: ``mine`` if the worker gives them back, ``end`` if it ends; of a dead one ``over`` if its lease is
        over, ``gone`` if it is not connected.
    :param push: ``FIRST`` or ``LAST``.
    """
    names = [
        keys.unacked, keys.index, keys.owned_by + owner, keys.owners, keys.patience, keys.heirs + owner,
    ]  # fmt: skip
    arguments = (owner, why, keys.present + owner, push, *(part for job in jobs for part in job))
    return int(scripts.REQUEUE(client, names, arguments))


def read_raw(client: Any, keys: Keys, job: str) -> bytes:
    """Return a job's message as it came."""
    return _message(client.hget(keys.unacked, job) or b"")


def _message(row: bytes) -> bytes:
    """Return the message of a row of Kombu's: ``[message, exchange, routing key]``."""
    return _until_exchange(row)[1:] if b',"",' in row else row


def _until_exchange(row: bytes) -> bytes:
    return row[: row.rindex(b',"",')] if b',"",' in row else row


def _marked(rest: bytes, origin: str, mark: Callable[[dict[str, Any], str], None], before: bytes) -> bytes:
    """Change what is to be changed in a message; whatever else is in it stays as it is.

    :param before: what stands for its beginning, if that stays where it is.
    """
    try:
        job = json.loads(before + rest)
        mark(job, origin)
    except (ValueError, KeyError, TypeError):
        return rest  # none of Celery's
    return json.dumps(job).encode().removeprefix(before)


def _waits_for_its_time(headers: dict[str, Any]) -> bool:
    """Say whether a job cannot have begun."""
    try:
        eta = datetime.fromisoformat(headers.get("eta") or "")
    except ValueError:
        return False
    return eta.astimezone(timezone.utc) > datetime.now(timezone.utc)
