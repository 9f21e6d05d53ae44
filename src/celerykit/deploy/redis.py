"""Redis or Valkey on a host: refuses variables under which it would not start, or would lose jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from celerykit.deploy import servers
from celerykit.deploy.refusals import Refusals

if TYPE_CHECKING:
    from celerykit.deploy.servers import Host, Package

ANYWHERE = r"-|\*$|0\.0\.0\.0$|127\.|::1?$|localhost$"
"""Addresses that any host has, or may do without."""
OWN_SETTINGS = (
    *("aclfile", "appendfsync", "appendonly", "bind", "dir", "include", "masterauth", "masteruser", "maxmemory"),
    *("maxmemory-policy", "min-replicas-max-lag", "min-replicas-to-write", "port", "replica-announce-ip", "replicaof"),
    *("tls-port", "user"),
)
"""Settings that the role makes itself, or that keep jobs from being lost."""
OTHER = {"redis": "valkey", "valkey": "redis"}
LEAST = 3
"""Servers with Sentinel, of which a majority is left when one is away."""
FIRST_PORT = 6379
"""The port of the server of the app without a name."""


class Variables(TypedDict):
    """The variables of the role ``redis`` without their prefix, and what the role found on the host."""

    host: Host
    family: str
    package: Package
    server: str
    password: Any
    results_password: Any
    sentinel_password: Any
    bind: list[str]
    port: int | str
    sentinel: list[str]
    instance: str
    settings: dict[str, Any]
    configuration: str
    """The path of the server's own configuration."""
    on_port: list[str]
    """The paths of the kit's configurations that have this port."""
    found: list[str]
    """The paths of data and configurations that are there."""
    data: str
    other_data: str
    """The folder of the data of the other kind of server."""
    archive: str
    """The end of the remedy for a release that is too old."""
    purge: str
    """The command that removes the other kind of server."""


def make(values: Variables) -> dict[str, list[str]]:
    """Return ``errors``, the reasons not to touch the host."""
    refusals = Refusals()
    for judge in (_judge_release, _judge_passwords, _judge_addresses, _judge_sentinel, _judge_instance, _judge_data):
        judge(values, refusals)
    return {"errors": refusals.texts}


def _judge_release(values: Variables, refusals: Refusals) -> None:
    package, server = values["package"], values["server"]
    if servers.is_too_old(package):
        refusals.texts.append(
            f"redis_server={server} needs {server.capitalize()} {package['oldest']} or newer, and "
            f"{values['host']['system']} has {servers.has(package)}. Take a host with a newer release for `brokers`, "
            f"or redis_server: {OTHER[server]}; or add an archive that has it to this host{values['archive']}"
        )


def _judge_passwords(values: Variables, refusals: Refusals) -> None:
    users = [
        ("redis_password", values["password"], "redis", "the user celery in celery_broker_url"),
        (
            "redis_results_password",
            values["results_password"],
            "redis-results",
            "the user results in celery_result_backend",
        ),
    ]
    if values["sentinel"]:
        who = "the servers and their Sentinels"
        users.append(("redis_sentinel_password", values["sentinel_password"], "redis-sentinel", who))
    for variable, password, file, who in users:
        servers.judge_password(variable, password, file, refusals, whose=f"It is the password of {who}. ")


def _judge_addresses(values: Variables, refusals: Refusals) -> None:
    servers.judge_addresses("redis_bind", "Redis", values["bind"], ANYWHERE, values["host"], refusals)
    if taken := sorted({name.lower() for name in values["settings"]} & {*OWN_SETTINGS}):
        refusals.texts.append(
            f"redis_settings has {', '.join(taken)}. Take it out: redis_bind, redis_port and redis_maxmemory are "
            f"variables of their own, and the others keep jobs from being lost"
        )


def _judge_sentinel(values: Variables, refusals: Refusals) -> None:
    named, host = values["sentinel"], values["host"]
    if not named:
        return
    number = len({*named})
    if number < LEAST or number % 2 == 0 or number != len(named):
        refusals.texts.append(
            f"redis_sentinel has {number} addresses, and it takes an odd number of at least {LEAST}, so that a "
            f"majority is left where one is away. Name three hosts in `brokers` and the address of each in "
            f"redis_sentinel; or leave it empty for a single server"
        )
    if not {*named} & {*host["addresses"]}:
        refusals.texts.append(
            f"redis_sentinel has {', '.join(named)}, and none is an address of this host, whose are "
            f"{', '.join(host['addresses'])}. Name its own among them"
        )
    if host["service_mgr"] != "systemd":
        refusals.texts.append(
            f"redis_sentinel needs systemd, and this host has {host['service_mgr']}. Leave it empty, or take hosts "
            f"with systemd for `brokers`"
        )


def _judge_instance(values: Variables, refusals: Refusals) -> None:
    instance, host = values["instance"], values["host"]
    fits = values["family"] == "Debian" and host["service_mgr"] == "systemd" and not values["sentinel"]
    if instance and not fits:
        refusals.texts.append(
            f"redis_instance={instance}, by celery_instance, is a server beside the first, and those need Debian with "
            f"systemd and no Sentinel. This host is {host['system']} with {host['service_mgr']}. Leave the group "
            f"brokers empty, and name in celery_broker_url another database of the first one, such as "
            f"redis://celery:PASSWORD@127.0.0.1:{FIRST_PORT}/2"
        )
    others = [path for path in values["on_port"] if path != values["configuration"]]
    if others or (instance and str(values["port"]) == str(FIRST_PORT)):
        owner = others[0] if others else "the one without a name"
        refusals.texts.append(
            f"redis_port={values['port']} is that of another app's server, {owner}. Say another, such as "
            f"redis_port: {FIRST_PORT + 1}, and in the URLs, too"
        )


def _judge_data(values: Variables, refusals: Refusals) -> None:
    """Refuse a server that would start without the jobs that the host keeps."""
    data, server, found = values["data"], values["server"], values["found"]
    if f"{data}/dump.rdb" in found and f"{data}/appendonlydir" not in found:
        refusals.texts.append(
            f"the Redis there keeps its data in {data}/dump.rdb, and would start without them in an empty append-only "
            f"file. Have that written first, by redis-cli CONFIG SET appendonly yes, and wait until redis-cli INFO "
            f"persistence shows aof_rewrite_in_progress:0; or, while it is stopped, by redis-snapshot restore {data}, "
            f"where an earlier run has put that; or remove dump.rdb if nobody needs it"
        )
    if any(path.startswith(f"{values['other_data']}/") for path in found):
        refusals.texts.append(
            f"redis_server={server}, and what a {OTHER[server]} holds is in {values['other_data']}: {server} would not "
            f"take it over. Let its jobs be done, then remove it on the host by {values['purge']}; or take "
            f"redis_server: {OTHER[server]}"
        )
