"""PostgreSQL on a host: refuses variables under which it would not start, and returns the SQL of its user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypedDict

from celerykit.credentials import passwords
from celerykit.deploy import servers
from celerykit.deploy.refusals import Refusals

if TYPE_CHECKING:
    from celerykit.deploy.servers import Host, Package

ANYWHERE = r"\*$|0\.0\.0\.0$|::$|127\.|::1$|localhost$"
"""Addresses that any host has."""
AMOUNT = re.compile(r"[1-9]\d*[MG]B")


class Variables(TypedDict):
    """The variables of the role ``postgresql`` without their prefix, and what the role found on the host."""

    host: Host
    package: Package
    password: Any
    bind: list[str]
    port: int | str
    memory: str
    cluster: str
    """The name of the role's own cluster."""
    clusters: list[str]
    """The lines of ``pg_lsclusters``: release, name, port, and more."""


def make(values: Variables) -> dict[str, Any]:
    """Return ``errors``, the reasons not to touch the host, or SQL for ``users``, and a certificate's ``addresses``."""
    refusals = Refusals()
    servers.judge_password("postgresql_password", values["password"], "postgresql", refusals)
    _judge_release(values["package"], values["host"], refusals)
    host = values["host"]
    bound = servers.judge_addresses("postgresql_bind", "PostgreSQL", values["bind"], ANYWHERE, host, refusals)
    if not values["bind"]:
        refusals.add("postgresql_bind=[]", "PostgreSQL would listen nowhere", "Name an address, such as 127.0.0.1")
    if not AMOUNT.fullmatch(str(values["memory"])):
        problem = "is no amount that PostgreSQL reads. Write it as 512MB or 2GB"
        refusals.texts.append(f"postgresql_memory={values['memory']} {problem}")
    _judge_clusters(values, refusals)
    users = "" if refusals.texts else passwords.postgresql_users(str(values["password"]))
    return {"errors": refusals.texts, "users": users, "addresses": bound}


def _judge_release(package: Package, host: Host, refusals: Refusals) -> None:
    if servers.is_too_old(package):
        refusals.texts.append(
            f"the role postgresql needs PostgreSQL {package['oldest']} or newer, and {host['system']} has "
            f"{servers.has(package)}. Take a host with a newer release, such as Debian 13; or add PostgreSQL's own "
            f"archive to this host"
        )


def _judge_clusters(values: Variables, refusals: Refusals) -> None:
    """Refuse another cluster's port, and a release that would start without the data of the one before."""
    own, version = values["cluster"], str(values["package"]["version"])
    for release, name, port in (line.split()[:3] for line in values["clusters"]):
        if name != own and port == str(values["port"]):
            refusals.texts.append(
                f"postgresql_port={port} is that of the PostgreSQL there, cluster {release}/{name}. The role has a "
                f"cluster of its own: give it another port, such as postgresql_port: 5433, and say it in the URLs"
            )
        if name == own and release != version:
            refusals.texts.append(
                f"jobs and results are in PostgreSQL {release}, and this host's archive has {version}, which would "
                f"start without them. Have them moved, on the host, by apt-get install postgresql-{version} and "
                f"pg_upgradecluster {release} {own}; and once all is well, pg_dropcluster {release} {own}"
            )
