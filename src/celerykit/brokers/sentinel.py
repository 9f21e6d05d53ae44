"""What a URL of Sentinel cannot say: the name of the master there, and how Sentinel itself is asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from celerykit.brokers import catalogue, verification

if TYPE_CHECKING:
    from celerykit.config.settings import Settings

SCHEME = "sentinel"


def options(url: str, own: Settings) -> dict[str, Any]:
    """Return the transport options of a URL, none if it is not Sentinel's or the master's name is not told.

    Sentinel is asked as the URL's user, and by TLS where the servers are.
    """
    if catalogue.scheme_of(url) != SCHEME or not own.sentinel_master:
        return {}
    first = urlsplit(url.partition(";")[0])
    login = {"username": first.username, "password": first.password}
    asked = {name: unquote(value) for name, value in login.items() if value}
    patience = {"socket_timeout": own.patience, "socket_connect_timeout": min(5.0, own.patience)}
    encrypted = {"ssl": True, **verification.checked(own.tls_ca)} if is_encrypted(url) else {}
    return {"master_name": own.sentinel_master, "sentinel_kwargs": {**asked, **patience, **encrypted}}


def is_encrypted(url: str) -> bool:
    """Say whether a URL of Sentinel asks for TLS."""
    query = urlsplit(url.partition(";")[0]).query
    return catalogue.scheme_of(url) == SCHEME and "ssl_cert_reqs" in dict(parse_qsl(query))
