"""RabbitMQ on a host: refuses variables under which it would not start, and returns its definitions and its operator.

The definitions are in base64, so that nobody on the way takes them for anything but a text.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, TypedDict

from celerykit.brokers import rabbitmq_definitions
from celerykit.config import settings
from celerykit.credentials import passwords
from celerykit.deploy import servers
from celerykit.deploy.refusals import Refusals
from celerykit.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celerykit.deploy.servers import Host, Package

QUEUES = "CELERY_WORKER_QUEUES"
LONGEST_JOB, STOP_TIMEOUT = map(settings.variable, ("longest_job", "stop_timeout"))
ANYWHERE = r"0\.0\.0\.0$|::$|127\.|::1$"
"""Addresses that any host has."""
PART = re.compile(r"0\.\d*[1-9]\d*|1\.0")
"""A part of the machine's memory."""
AMOUNT = re.compile(r"[1-9]\d*(\.\d+)?([kKMGT]i?)?B?")
NODE = "rabbit@localhost"


class Variables(TypedDict):
    """The variables of the role ``rabbitmq`` without their prefix, those of all workers, and facts of the host."""

    host: Host
    package: Package
    passwords: dict[str, Any] | None
    bind: list[str]
    memory: Any
    disk_free: Any
    found: list[str]
    """The folders of data that are there, of any node."""
    queues: list[str]
    environments: list[dict[str, Any] | None]
    """The variables of all processes, of each host with workers."""
    stop_timeouts: list[Any]
    pools: list[list[dict[str, Any] | None]]
    """The options of each pool, of each host with workers."""


def make(values: Variables) -> dict[str, Any]:
    """Return ``errors``, the reasons not to touch the host, or definitions, a login, and a certificate's addresses."""
    refusals = Refusals()
    bound = servers.judge_addresses("rabbitmq_bind", "RabbitMQ", values["bind"], ANYWHERE, values["host"], refusals)
    _judge(values, refusals)
    pools = [*_pools(values)]
    try:
        slowest = _slowest(pools)
    except ConfigurationError as exc:
        refusals.texts += map(str, exc.findings)
    if refusals.texts:
        return {"errors": refusals.texts}
    secrets = {name: str(password) for name, password in (values["passwords"] or {}).items()}
    text = rabbitmq_definitions.definitions(secrets, queues(pools, values["queues"]), slowest)
    operator = passwords.ADMIN.format(vhost=rabbitmq_definitions.VHOST, **secrets)
    encoded = base64.b64encode(text.encode()).decode()
    return {"errors": [], "definitions": encoded, "operator": operator, "addresses": bound}


def queues(pools: list[dict[str, Any]], others: list[str]) -> list[str]:
    """Return all queues of jobs: those that pools name, the default one of a pool that names none, and others."""
    named = [name for pool in pools or [{}] for name in _listed(pool.get(QUEUES) or pool.get("queues") or "celery")]
    return sorted({*named, *others})


def _judge(values: Variables, refusals: Refusals) -> None:
    host, package = values["host"], values["package"]
    if servers.is_too_old(package):
        refusals.texts.append(
            f"celery_broker=rabbitmq needs RabbitMQ {package['oldest']} or newer, and {host['system']} has "
            f"{servers.has(package)}. Before 3.12 it takes a job away from its worker after half an hour, and it would "
            f"run twice. Take a host with a newer release for `brokers`, such as Debian 13, or celery_broker: redis; "
            f"or add RabbitMQ's own archive to this host"
        )
    for user in rabbitmq_definitions.RIGHTS:
        password = (values["passwords"] or {}).get(user)
        servers.judge_password(f"rabbitmq_passwords.{user}", password, f"rabbitmq-{user}", refusals)
    if not values["bind"]:
        refusals.add("rabbitmq_bind=[]", "RabbitMQ would listen nowhere", "Name an address, such as 127.0.0.1")
    _judge_thresholds(str(values["memory"]), str(values["disk_free"]), refusals)
    if others := [folder for folder in values["found"] if f"/{NODE}" not in folder]:
        refusals.texts.append(
            f"the RabbitMQ there keeps its data in {', '.join(others)}, and would start without them under the name "
            f"{NODE}. Let its queues empty, then stop it and remove that folder"
        )


def _judge_thresholds(memory: str, disk_free: str, refusals: Refusals) -> None:
    is_memory = PART.fullmatch(memory) or AMOUNT.fullmatch(memory)
    if not is_memory or not AMOUNT.fullmatch(disk_free):
        refusals.texts.append(
            f"rabbitmq_memory={memory} or rabbitmq_disk_free={disk_free} is no amount. Write one as 2GiB or 512MiB; "
            f"for the memory, a part of the machine's does as well, such as 0.6"
        )


def _pools(values: Variables) -> Iterator[dict[str, Any]]:
    """Yield the options of each pool of each host, over those that the host has for all."""
    hosts = zip(values["environments"], values["stop_timeouts"], values["pools"], strict=True)
    for environment, stop_timeout, pools in hosts:
        shared = {STOP_TIMEOUT: stop_timeout, **(environment or {})}
        yield from ({**shared, **(options or {})} for options in pools)


def _slowest(pools: list[dict[str, Any]]) -> settings.Settings:
    """Return settings in which a job may last, and a stop take, as long as in any pool."""
    times = [
        {name: str(pool[name]) for name in (LONGEST_JOB, STOP_TIMEOUT) if pool.get(name) is not None} for pool in pools
    ]
    place = "celery_workers, celery_environment or celery_stop_timeout"
    each = [settings.from_environment(one, dict.fromkeys(one, place)) for one in times] or [settings.Settings()]
    limits = [own.longest_job for own in each if own.longest_job is not None]
    return settings.Settings(
        longest_job=max(limits) if len(limits) == len(each) else None,
        stop_timeout=max(own.stop_timeout for own in each),
    )


def _listed(value: Any) -> list[str]:
    return [str(name).strip() for name in (value.split(",") if isinstance(value, str) else value)]
