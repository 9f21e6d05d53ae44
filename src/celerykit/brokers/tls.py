"""TLS to brokers and result backends: certificates are required and verified, and errors carry a remedy."""

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
"""The remedy for each error of TLS, by a regular expression, the closest first."""
ENDED = r"Connection closed by server|Server unexpectedly closed connection|Connection reset by peer"
HINTS = {
    True: (rf"Timeout connecting to server|{ENDED}", "If no TLS is spoken there, mend the port, or the URL's scheme"),
    False: (ENDED, "If TLS alone is spoken there, say rediss:// or amqps:// in the URL"),
}
"""Pattern and remedy for a server that gives no reason: by True for connections with TLS, by False without."""
UNCHECKED = "the certificate of the server is not checked, so anybody can stand in for it"
NAMELESS = "the certificate may be any other host's, which then can stand in for the server"
MODES = {"sslmode=require": UNCHECKED, "sslmode=verify-ca": NAMELESS}
"""The problem with each weak ``sslmode`` of PostgreSQL's library."""


class Connection(KombuConnection):
    """Kombu's connection with verified TLS: by itself, Kombu verifies no certificate at ``rediss://``.

    The kit adds the TLS options that URL and app leave out, for each of several hosts in turn.
    """

    def _init_params(self, *args: Any, **params: Any) -> None:
        if params.get("transport") == PGMQ:
            # Options of the URL; Kombu would pass them to itself.
            named = {name: params.pop(name) for name in [*params] if re.fullmatch(r"ssl[a-z_]+", name)}
            params["ssl"] = {**_as_dict(params.get("ssl")), **named} or params.get("ssl")
        params["ssl"] = options(params.get("transport"), params.get("ssl"))
        super()._init_params(*args, **params)  # type: ignore[no-untyped-call]

    def _establish_connection(self) -> Any:
        if self.transport_cls == PGMQ:  # its own errors name the cause
            return super()._establish_connection()  # type: ignore[no-untyped-call]
        parameters = self.ssl
        if parameters and isinstance(parameters, dict):
            self.ssl = dict(parameters)  # Kombu stores the first host's name there, and would verify the second by it
        try:
            return super()._establish_connection()  # type: ignore[no-untyped-call]
        except Exception as exc:  # each transport raises its own
            scheme = "amqps" if parameters else str(self.transport_cls)
            if advice := remedy(str(exc), scheme):
                raise ConnectionError(f"{str(exc).rstrip('.')}. {advice}") from exc
            raise
        finally:
            if parameters and isinstance(parameters, dict):
                self.ssl = parameters


def options(transport: Any, configured: Any) -> Any:
    """Return a connection's TLS options: ``configured`` (``broker_use_ssl``, or the URL's) and the kit's defaults."""
    authority = os.environ.get(AUTHORITY, "")
    parameters = _as_dict(configured)
    if transport == PGMQ:
        return {**postgresql.checked(parameters, authority), **parameters} or (
            {"sslmode": postgresql.FULL} if configured else configured
        )
    if not configured and transport not in SCHEMES:
        return configured
    if transport in catalogue.REDIS:
        return {**verification.checked(authority), **parameters}
    if (transport or "amqp") not in catalogue.AMQP or "context" in parameters:
        return configured
    filled = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None, **parameters}
    if authority:
        filled.setdefault("ca_certs", authority)
    if filled["cert_reqs"] == ssl.CERT_NONE and filled["server_hostname"] is None:
        del filled["server_hostname"]  # Python refuses to verify a name without a certificate
    return filled


def _as_dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def remedy(problem: str, scheme: str) -> str:
    """Return the remedy for an error of TLS or of missing TLS, an empty string for any other error.

    :param scheme: of the URL, such as ``rediss``.
    """
    pattern, hint = HINTS[scheme in SCHEMES]
    return look_up({**REMEDIES, pattern: hint}, problem)


def unchecked(app: Any, where: str) -> Iterator[Finding]:
    """Yield each TLS connection of ``app`` that does not verify its server."""
    urls = [*catalogue.broker_urls(app.conf), *catalogue.broker_urls(app.conf, "broker_write_url")]
    for url in dict.fromkeys(urls):
        scheme = catalogue.scheme_of(url)
        configured = app.connection_for_read(url).ssl if scheme in {*catalogue.REDIS, *catalogue.AMQP, PGMQ} else None
        if configured or scheme in SCHEMES:
            yield from _judge(scheme, configured, "broker_use_ssl", where)
    backend = app.conf.result_backend
    if isinstance(backend, str) and backend.startswith("rediss://"):
        configured = {**(app.conf.redis_backend_use_ssl or {}), **dict(parse_qsl(urlsplit(backend).query))}
        yield from _judge("rediss", configured, "redis_backend_use_ssl", where)
    if isinstance(backend, str) and postgresql.is_of(backend):
        connect_args = (app.conf.database_engine_options or {}).get("connect_args", {})
        yield from _judge(PGMQ, {**postgresql.options(backend), **connect_args}, "database_engine_options", where)


def _judge(transport: str, configured: Any, variable: str, where: str) -> Iterator[Finding]:
    parameters = _as_dict(configured)
    value, problem = "", ""
    if transport == PGMQ:
        value = f"sslmode={parameters.get('sslmode')}"
        problem = MODES.get(value, "")
    elif transport in catalogue.REDIS and not isinstance(configured, dict):
        value, problem = str(configured), "nothing is encrypted: Kombu takes this for no TLS at all"
    elif (name := _not_required(parameters)) is not None:
        value, problem = name, UNCHECKED
    elif not _checks_name(transport, parameters):
        value = "no check of the host's name"
        problem = NAMELESS
    if problem:
        of_url = "sslmode" if transport == PGMQ else "ssl_*"
        remedy = (
            f"Leave {variable} and the URL's {of_url} out: the kit has both checked, against {AUTHORITY} if it is set"
        )
        yield Finding(variable, value, where, problem, remedy)


def _not_required(parameters: Mapping[str, Any]) -> str | None:
    for name in ("ssl_cert_reqs", "cert_reqs"):
        required = parameters.get(name, ssl.CERT_REQUIRED)
        if str(getattr(required, "name", required)).lower().removeprefix("cert_") != "required":
            return f"{name}={getattr(required, 'name', required)}"
    return None


def _checks_name(transport: str, parameters: Mapping[str, Any]) -> bool:
    if transport in catalogue.REDIS:
        return bool(parameters.get("ssl_check_hostname", True))
    return bool(parameters.get("context", {}).get("check_hostname")) or "server_hostname" in parameters
