"""The transport options of Sentinel that its URL cannot hold: the master's name, and the login to Sentinel itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from celerykit.brokers import catalogue, verification

if TYPE_CHECKING:
    from celerykit.config.settings import Settings

SCHEME = "sentinel"


def options(url: str, settings: Settings) -> dict[str, Any]:
    """Return the transport options of a URL, none if it is not Sentinel's or the settings name no master.

    The client logs in to Sentinel as the URL's user, and uses TLS if the servers do.
    """
    if catalogue.scheme_of(url) != SCHEME or not settings.sentinel_master:
        return {}
    first = urlsplit(url.partition(";")[0])
    login = {"username": first.username, "password": first.password}
    credentials = {name: unquote(value) for name, value in login.items() if value}
    patience = {"socket_timeout": settings.patience, "socket_connect_timeout": min(5.0, settings.patience)}
    encrypted = {"ssl": True, **verification.checked(settings.tls_ca)} if is_encrypted(url) else {}
    return {"master_name": settings.sentinel_master, "sentinel_kwargs": {**credentials, **patience, **encrypted}}


def is_encrypted(url: str) -> bool:
    """Say whether a URL is Sentinel's and requires TLS."""
    query = urlsplit(url.partition(";")[0]).query
    return catalogue.scheme_of(url) == SCHEME and "ssl_cert_reqs" in dict(parse_qsl(query))
