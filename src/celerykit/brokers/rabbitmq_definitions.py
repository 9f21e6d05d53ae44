"""The definitions of RabbitMQ: virtual host, users and rights, policies, and the exchanges and queues of jobs.

Neither Celery nor Kombu is imported: Ansible calls this on a machine that may have none.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from celerykit.brokers import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celerykit.config.settings import Settings

VHOST = "celery"
DELIVERY_LIMIT = 20
"""Redeliveries of a job, after a worker's end or a lost connection, before RabbitMQ dead-letters it."""
LEVELS = 28
"""Bits of the longest delay: exchange and queue of level N hold a message for 2 to the power of N seconds."""
DELIVERY = "celery_delayed_delivery"
"""The exchange where delays end. Kombu's, as are the levels and their names: a test compares."""
EXPIRED = "celerykit.expired"
"""The queue of jobs that expired before their start; it drops them. Without a queue, RabbitMQ would keep them."""
REVOKED = "celerykit.revoked"
"""The stream of revocations: each worker can read all of it, because a read removes nothing."""
REVOKED_ARGUMENTS = {
    "x-queue-type": "stream",
    "x-max-length-bytes": 16_000_000,  # some 80,000 messages; the oldest are dropped by whole segments
    "x-stream-max-segment-size-bytes": 2_000_000,
}

_JOBS = r"(?!amq\.|celeryev|celery_delayed_|celerykit\.|.*celery\.pidbox$).*"
"""Names of queues and exchanges for jobs: no events, no remote control, nothing of the server's or the kit's own."""
RIGHTS = {
    # A worker may dead-letter jobs, but may neither read nor purge the dead letters.
    "worker": {
        "configure": r"^(?!amq\.).*$",
        "write": r"^(amq\.default|(?!amq\.).*)$",
        "read": r"^(?!amq\.|celerykit\.(?!revoked$)).*$",
    },
    # Without the default exchange: it would let a producer write commands into a worker's own queue. To bind a queue,
    # a producer needs the right to read the exchange.
    "producer": {
        "configure": f"^{_JOBS}$",
        "write": f"^(celery_delayed_{LEVELS - 1}|{_JOBS})$",
        "read": f"^({catalogue.EXCHANGE}|{DELIVERY})$",
    },
    "operator": {"configure": ".*", "write": ".*", "read": ".*"},
}
"""The rights of each user, by name."""


def definitions(passwords: Mapping[str, str], queues: Sequence[str], settings: Settings) -> str:
    """Return the JSON text that RabbitMQ imports at each start.

    :param passwords: of each user in :data:`RIGHTS`.
    :param queues: all queues of jobs, so that a delayed job finds its queue before any worker has started.
    """
    content = {
        "vhosts": [{"name": VHOST, "metadata": {"default_queue_type": catalogue.QUORUM}}],
        "users": [_user(name, passwords[name]) for name in RIGHTS],
        "permissions": [{"user": name, "vhost": VHOST, **rights} for name, rights in RIGHTS.items()],
        "policies": [_policy_of_jobs(settings), _policy_of_letters()],
        "exchanges": [
            *(_exchange(name, "topic") for name in (catalogue.EXCHANGE, DELIVERY, *map(level_name, range(LEVELS)))),
            _exchange(catalogue.DEAD_LETTERS, "headers"),
        ],
        "queues": [
            *map(_queue, (*queues, catalogue.DEAD_LETTERS)),
            *map(_delay, range(LEVELS)),
            _queue(EXPIRED, **{"x-queue-type": "classic", "x-max-length": 0}),
            _queue(REVOKED, **REVOKED_ARGUMENTS),
        ],
        "bindings": [
            *_bindings(queues),
            _sorts("delivery_limit", catalogue.DEAD_LETTERS),
            _sorts("rejected", catalogue.DEAD_LETTERS),
            _sorts("expired", EXPIRED),
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def _user(name: str, password: str) -> dict[str, Any]:
    # The salt follows from the password, so that equal passwords make an equal file.
    salt = hashlib.sha256(f"{name}:{password}".encode()).digest()[:4]
    digest = salt + hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["monitoring", "policymaker"] if name == "operator" else [],
    }


def _policy_of_jobs(settings: Settings) -> dict[str, Any]:
    """Return the policy of all queues of jobs: arguments of a queue would have to be equal in every program."""
    return _policy(
        "celerykit-jobs",
        f"^{_JOBS}$",
        {
            "consumer-timeout": round(settings.consumer_timeout * 1000),
            "dead-letter-exchange": catalogue.DEAD_LETTERS,
            "dead-letter-strategy": "at-least-once",
            "delivery-limit": DELIVERY_LIMIT,
            "overflow": "reject-publish",
        },
    )


def _policy_of_letters() -> dict[str, Any]:
    """Return the policy that lets a reader requeue a dead letter without a limit."""
    return _policy("celerykit-dead-letters", r"^celerykit\.dead-letters$", {"delivery-limit": -1})


def _policy(name: str, pattern: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "vhost": VHOST,
        "name": name,
        "pattern": pattern,
        "apply-to": "quorum_queues",
        "priority": 1,
        "definition": definition,
    }


def _bindings(queues: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the bindings of delays, one bit of the routing key after the other, then those of each queue."""
    for level in range(LEVELS):
        bits = "*." * (LEVELS - 1 - level)
        below = level_name(level - 1) if level else DELIVERY
        yield _binding(level_name(level), level_name(level), f"{bits}1.#")
        yield _binding(level_name(level), below, f"{bits}0.#", kind="exchange")
    for name in queues:
        yield _binding(DELIVERY, catalogue.EXCHANGE, f"#.{name}", kind="exchange")
        yield _binding(catalogue.EXCHANGE, name, f"#.{name}")
        yield _binding(catalogue.EXCHANGE, name, name)


def level_name(level: int) -> str:
    """Return the name of the exchange and the queue of a delay level."""
    return f"celery_delayed_{level}"


def _sorts(reason: str, queue: str) -> dict[str, Any]:
    """Return the binding that leads messages dead-lettered for ``reason`` into ``queue``."""
    arguments = {"x-match": "all-with-x", "x-first-death-reason": reason}
    return {**_binding(catalogue.DEAD_LETTERS, queue, ""), "arguments": arguments}


def _delay(level: int) -> dict[str, Any]:
    return _queue(
        level_name(level),
        **{
            "x-dead-letter-exchange": level_name(level - 1) if level else DELIVERY,
            "x-dead-letter-strategy": "at-least-once",
            "x-message-ttl": 2**level * 1000,
            "x-overflow": "reject-publish",
        },
    )


def _queue(name: str, **arguments: Any) -> dict[str, Any]:
    return {
        "name": name,
        "vhost": VHOST,
        "durable": True,
        "auto_delete": False,
        "arguments": {"x-queue-type": catalogue.QUORUM, **arguments},
    }


def _exchange(name: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "vhost": VHOST,
        "type": kind,
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
    }


def _binding(source: str, destination: str, routing_key: str, *, kind: str = "queue") -> dict[str, Any]:
    return {
        "source": source,
        "vhost": VHOST,
        "destination": destination,
        "destination_type": kind,
        "routing_key": routing_key,
        "arguments": {},
    }
