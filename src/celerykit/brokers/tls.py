"""TLS to brokers and result backends: certificates are required and checked, and what is wrong with one is said."""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from kombu.connection import Connection as KombuConnection

from celerykit.brokers import catalogue, postgresql, verification
from celerykit.config.settings import AUTHORITY
from celerykit.errors import Finding, look_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMES = ("rediss", "amqps")
PGMQ = "pgmq"
REMEDIES = {
    r"Hostname mismatch|IP address mismatch": "Write the host in the URL as its certificate names it, or give it a "
    "certificate for this name",
    r"certificate has expired": "Renew the server's certificate, and let the server read it",
    r"certificate is not yet valid": "Set the clock, of this machine or of the one that has made the certificate",
    r"CERTIFICATE_VERIFY_FAILED": f"Name the file with the certificate of the server's authority in {AUTHORITY}; an "
    "ssl_ca_certs of the URL or the app goes before it",
    r"WRONG_VERSION_NUMBER|UNEXPECTED_EOF|record layer failure|handshake operation timed out": "No TLS is spoken "
    "there: mend the port, or the scheme of the URL",
}
"""What to do about what TLS says, as a regular expression, the closest first."""
ENDED = r"Connection closed by server|Server unexpectedly closed connection|Connection reset by peer"
HINTS = {
    True: (rf"Timeout connecting to server|{ENDED}", "If no TLS is spoken there, mend the port, or the URL's scheme"),
    False: (ENDED, "If TLS alone is spoken there, say rediss:// or amqps:// in the URL"),
}
"""What may be meant, over TLS and without, by a server that says nothing of it."""
UNCHECKED = "the certificate of the server is not checked, so anybody can stand in for it"
NAMELESS = "the certificate may be any other host's, which then can stand in for the server"
MODES = {"sslmode=require": UNCHECKED, "sslmode=verify-ca": NAMELESS}
"""What is wrong with what PostgreSQL's library may be told."""


class Connection(KombuConnection):
    """Kombu's connection, which by itself would believe anybody who answers at ``rediss://``.

    What URL and app leave out of TLS is filled in; so it is for each of several hosts in turn.
    """

    def _init_params(self, *args: Any, **params: Any) -> None:
        if params.get("transport") == PGMQ:
            # Of the URL, which Kombu takes for its own.
            named = {name: params.pop(name) for name in [*params] if re.fullmatch(r"ssl[a-z_]+", name)}
            params["ssl"] = {**_given(params.get("ssl")), **named} or params.get("ssl")
        params["ssl"] = options(params.get("transport"), params.get("ssl"))
        super()._init_params(*args, **params)  # type: ignore[no-untyped-call]

    def _establish_connection(self) -> Any:
        if self.transport_cls == PGMQ:  # which says by itself what is wrong
            return super()._establish_connection()  # type: ignore[no-untyped-call]
        told = self.ssl
        if told and isinstance(told, dict):
            self.ssl = dict(told)  # Kombu writes down the first host's name, and holds the second to it
        try:
            return super()._establish_connection()  # type: ignore[no-untyped-call]
        except Exception as exc:  # each transport raises its own
            scheme = "amqps" if told else str(self.transport_cls)
            if known := remedy(str(exc), scheme):
                raise ConnectionError(f"{str(exc).rstrip('.')}. {known}") from exc
            raise
        finally:
            if told and isinstance(told, dict):
                self.ssl = told


def options(transport: Any, told: Any) -> Any:
    """Return what a connection is told of TLS, with what ``told`` (``broker_use_ssl``, or the URL) leaves out."""
    authority = os.environ.get(AUTHORITY, "")
    given = _given(told)
    if transport == PGMQ:
        return {**postgresql.checked(given, authority), **given} or ({"sslmode": postgresql.FULL} if told else told)
    if not told and transport not in SCHEMES:
        return told
    if transport in catalogue.REDIS:
        return {**verification.checked(authority), **given}
    if (transport or "amqp") not in catalogue.AMQP or "context" in given:
        return told
    filled = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None, **given}
    if authority:
        filled.setdefault("ca_certs", authority)
    if filled["cert_reqs"] == ssl.CERT_NONE and filled["server_hostname"] is None:
        del filled["server_hostname"]  # a name that nobody vouches for is none, and Python refuses to check it
    return filled


def _given(told: Any) -> dict[str, Any]:
    return dict(told) if isinstance(told, dict) else {}


def remedy(problem: str, scheme: str) -> str:
    """Return what to do about an error of TLS, or one for want of it; nothing about anything else.

    :param scheme: of the URL, such as ``rediss``.
    """
    pattern, hint = HINTS[scheme in SCHEMES]
    return look_up({**REMEDIES, pattern: hint}, problem)


def unchecked(app: Any, where: str) -> Iterator[Finding]:
    """Yield why somebody else could stand in for a server of ``app`` that TLS is spoken to."""
    urls = [*catalogue.broker_urls(app.conf), *catalogue.broker_urls(app.conf, "broker_write_url")]
    for url in dict.fromkeys(urls):
        scheme = catalogue.scheme_of(url)
        told = app.connection_for_read(url).ssl if scheme in {*catalogue.REDIS, *catalogue.AMQP, PGMQ} else None
        if told or scheme in SCHEMES:
            yield from _judge(scheme, told, "broker_use_ssl", where)
    backend = app.conf.result_backend
    if isinstance(backend, str) and backend.startswith("rediss://"):
        told = {**(app.conf.redis_backend_use_ssl or {}), **dict(parse_qsl(urlsplit(backend).query))}
        yield from _judge("rediss", told, "redis_backend_use_ssl", where)
    if isinstance(backend, str) and postgresql.is_of(backend):
        own = (app.conf.database_engine_options or {}).get("connect_args", {})
        yield from _judge(PGMQ, {**postgresql.options(backend), **own}, "database_engine_options", where)


def _judge(transport: str, told: Any, variable: str, where: str) -> Iterator[Finding]:
    given = _given(told)
    value, problem = "", ""
    if transport == PGMQ:
        value = f"sslmode={given.get('sslmode')}"
        problem = MODES.get(value, "")
    elif transport in catalogue.REDIS and not isinstance(told, dict):
        value, problem = str(told), "nothing is encrypted: Kombu takes this for no TLS at all"
    elif (name := _not_required(given)) is not None:
        value, problem = name, UNCHECKED
    elif not _checks_name(transport, given):
        value = "no check of the host's name"
        problem = NAMELESS
    if problem:
        theirs = "sslmode" if transport == PGMQ else "ssl_*"
        remedy = (
            f"Leave {variable} and the URL's {theirs} out: the kit has both checked, against {AUTHORITY} if it is set"
        )
        yield Finding(variable, value, where, problem, remedy)


def _not_required(given: Mapping[str, Any]) -> str | None:
    for name in ("ssl_cert_reqs", "cert_reqs"):
        required = given.get(name, ssl.CERT_REQUIRED)
        if str(getattr(required, "name", required)).lower().removeprefix("cert_") != "required":
            return f"{name}={getattr(required, 'name', required)}"
    return None


def _checks_name(transport: str, given: Mapping[str, Any]) -> bool:
    if transport in catalogue.REDIS:
        return bool(given.get("ssl_check_hostname", True))
    return bool(given.get("context", {}).get("check_hostname")) or "server_hostname" in given
