"""Work out on the controller what RabbitMQ is told: ``define.py`` reads what roles are told, as JSON, from its input.

The answer is JSON, too: the definitions, in base64 so that nobody on the way takes them for anything but a text, what
an operator logs in with, and what is wrong with the variables.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from celerykit.brokers import rabbitmq_definitions
from celerykit.config import settings
from celerykit.credentials import passwords
from celerykit.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUES = "CELERY_WORKER_QUEUES"
LONGEST_JOB, STOP_TIMEOUT = map(settings.variable, ("longest_job", "stop_timeout"))


def define(told: dict[str, Any]) -> dict[str, Any]:
    """Return the answer, or what keeps RabbitMQ from being told so."""
    pools = [*_pools(told)]
    try:
        own = _slowest(pools)
    except ConfigurationError as exc:
        return {"errors": list(map(str, exc.findings))}
    text = rabbitmq_definitions.definitions(told["passwords"], queues(pools, told["queues"]), own)
    operator = passwords.ADMIN.format(vhost=rabbitmq_definitions.VHOST, **told["passwords"])
    return {"errors": [], "definitions": base64.b64encode(text.encode()).decode(), "operator": operator}


def queues(pools: list[dict[str, Any]], others: list[str]) -> list[str]:
    """Return all queues of jobs: those that pools name, the default one of a pool that names none, and others."""
    named = [name for pool in pools or [{}] for name in _listed(pool.get(QUEUES) or pool.get("queues") or "celery")]
    return sorted({*named, *others})


def _pools(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what holds for each pool of each host: its options over what the host says for all."""
    for environment, stop_timeout, pools in zip(
        told["environments"], told["stop_timeouts"], told["pools"], strict=True
    ):
        shared = {STOP_TIMEOUT: stop_timeout, **(environment or {})}
        yield from ({**shared, **(options or {})} for options in pools)


def _slowest(pools: list[dict[str, Any]]) -> settings.Settings:
    """Return settings in which a job may last, and a stop take, as long as in any pool."""
    said = [
        {name: str(pool[name]) for name in (LONGEST_JOB, STOP_TIMEOUT) if pool.get(name) is not None} for pool in pools
    ]
    place = "celery_workers, celery_environment or celery_stop_timeout"
    each = [settings.from_environment(one, dict.fromkeys(one, place)) for one in said] or [settings.Settings()]
    limits = [own.longest_job for own in each if own.longest_job is not None]
    return settings.Settings(
        longest_job=max(limits) if len(limits) == len(each) else None,
        stop_timeout=max(own.stop_timeout for own in each),
    )


def _listed(value: Any) -> list[str]:
    return [str(name).strip() for name in (value.split(",") if isinstance(value, str) else value)]


if __name__ == "__main__":
    json.dump(define(json.load(sys.stdin)), sys.stdout)
