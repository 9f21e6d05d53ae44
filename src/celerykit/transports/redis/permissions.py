"""What a user of Redis must be allowed, seen before the first job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu.utils.encoding import bytes_to_str
from redis.exceptions import NoPermissionError, ResponseError

from celerykit.errors import ConfigurationError, Finding
from celerykit.transports.redis import scripts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celerykit.transports.redis.keys import Keys

COMMANDS: dict[str, tuple[Any, ...]] = {
    "script|load": ("SCRIPT", "LOAD", scripts.PROBE_PERMISSIONS.text),
    "client|id": ("CLIENT", "ID"),
    "client|tracking": ("CLIENT", "TRACKING", "OFF"),
    "client|caching": ("CLIENT", "CACHING", "YES"),
    "pubsub|numsub": ("PUBSUB", "NUMSUB", ""),
    "hget": ("HGET", "", ""),
    "hkeys": ("HKEYS", ""),
    "hmget": ("HMGET", "", ""),
    "exists": ("EXISTS", ""),
    "zrange": ("ZRANGE", "", 0, 0),
}
"""What is sent beside scripts, in a form without effect. Subscribing, too, which remote control needs anyway."""


def require(client: Any, keys: Keys) -> None:
    """Do nothing, if the user may do what the transport does.

    :raises ConfigurationError: naming the commands that are missing.
    """
    missing = list(dict.fromkeys(_refused(client, keys)))
    if not missing:
        return
    user = client.connection_pool.connection_kwargs.get("username") or "default"
    grants = " ".join(f"+{command}" for command in missing)
    problem = f"this user of Redis may not run {', '.join(missing)}, without which a worker cannot hold jobs"
    remedy = f"ACL SETUSER {user} {grants}, or set CELERYKIT_REDIS_TRANSPORT=stock"
    raise ConfigurationError(
        Finding("CELERY_BROKER_URL", f"user {user}", "the broker's access control", problem, remedy)
    )


def _refused(client: Any, keys: Keys) -> Iterator[str]:
    for name, command in COMMANDS.items():
        try:
            client.execute_command(*(keys.access if part == "" else part for part in command))
        except NoPermissionError:
            yield name
        except ResponseError:
            continue  # allowed, but of no use in this place
    try:
        yield from map(bytes_to_str, scripts.PROBE_PERMISSIONS(client, [keys.access], ()))
    except NoPermissionError:
        yield "evalsha"
