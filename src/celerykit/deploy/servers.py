"""Refusals that all servers have in common: of passwords, of addresses, and of a release that is too old."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celerykit.deploy.refusals import Refusals

WITHOUT_QUOTING = re.compile(r"[A-Za-z0-9._~-]+")
"""The characters that a URL holds as they are, by RFC 3986, section 2.3."""


class Host(TypedDict):
    """Facts of a host, as Ansible gathers them."""

    system: str
    """Its distribution and release."""
    service_mgr: str
    addresses: list[str]


class Package(TypedDict):
    """The package of a server, as its host and the host's archives have it."""

    known: bool
    """Whether the host knows the packages of its archives."""
    version: str | int
    """The version that is installed or offered; ``0`` for none. Ansible hands a number over as one, or as a text."""
    oldest: str


def judge_password(variable: str, password: object, file: str, refusals: Refusals, whose: str = "") -> None:
    """Refuse a password that is missing, or that a URL would need quoted; the remedy names a file to keep one in."""
    word = str(password or "")
    if WITHOUT_QUOTING.fullmatch(word):
        return
    problem = "is set, but holds a character that a URL would need quoted" if word else "is not set"
    refusals.texts.append(
        f"{variable} {problem}. {whose}Take letters, digits and - . _ ~ only; to have one made and kept beside the "
        f"inventory, set it in group_vars/all.yml to lookup('ansible.builtin.password', inventory_dir ~ "
        f"'/.secrets/{file}', chars=['hexdigits'], length=48), in braces"
    )


def judge_addresses(
    variable: str, server: str, bind: Iterable[str], anywhere: str, host: Host, refusals: Refusals
) -> list[str]:
    """Refuse addresses that a server is to listen on and the host does not have.

    :param anywhere: a regular expression; an address that begins so may be on any host.
    :returns: the other addresses, by which other hosts reach the server.
    """
    bound = [address for address in bind if not re.match(anywhere, address)]
    if foreign := [address for address in bound if address not in host["addresses"]]:
        own = ", ".join(host["addresses"])
        problem = f"has {', '.join(foreign)}, which is no address of this host, so {server} would not start"
        refusals.texts.append(f"{variable} {problem}. Its addresses are {own}")
    return bound


def is_too_old(package: Package) -> bool:
    """Return whether the server of the host, or of its archives, is older than the kit needs."""
    return package["known"] and _number(str(package["version"])) < _number(package["oldest"])


def has(package: Package) -> str:
    """Return the version that a host has, as a message names it."""
    version = str(package["version"])
    return "none" if version == "0" else version


def _number(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]
