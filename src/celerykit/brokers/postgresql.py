"""TLS to PostgreSQL, and the remedies for its error messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from celerykit.config.settings import AUTHORITY
from celerykit.errors import look_up

if TYPE_CHECKING:
    from collections.abc import Mapping

FULL = "verify-full"
"""The one ``sslmode`` that verifies both the server's certificate and its host name."""
RESULTS = re.compile(r"db\+postgresql(\+psycopg2?)?:")
"""Matches the URLs of result backends whose client takes the parameters of PostgreSQL's own library."""
REMEDIES = {
    r"password authentication failed": "Give the user and password that PostgreSQL knows, URL-encoded, in its URL",
    r'database ".*" does not exist': "Make the database, or mend the name at the end of the URL",
    r"no encryption": "TLS alone is spoken there: name the file with the certificate of the server's authority in "
    f"{AUTHORITY}, and leave sslmode out of the URL",
    r"no pg_hba\.conf entry|pg_hba\.conf rejects": "Let this user into this database from here in the server's "
    "pg_hba.conf, or mend user or database in the URL",
    r"permission denied for database": "Let the user make the schema pgmq: GRANT CREATE ON DATABASE name TO user",
    r"permission denied for schema": "Make the user the owner of the schema, or name the owner in the URL",
    r"too many (clients|connections)|connection slots are reserved": "Raise max_connections of the server",
    r"server certificate for .* does not match host name": "Write the host in the URL as its certificate names it, or "
    "give it a certificate for this name",
    # PostgreSQL's library gives no closer reason.
    r"certificate verify failed": f"Name the file with the certificate of the server's authority in {AUTHORITY}; an "
    "sslrootcert of the URL or the app goes before it. Renew the server's certificate, and let the server read it, if "
    "it has expired",
    r"server does not support SSL": f"No TLS is spoken there, and {AUTHORITY} asks for it: have the server speak it, "
    "or say sslmode=disable in the URL",
}
"""The remedy for each message of PostgreSQL and its library, by a regular expression."""


def is_of(url: str) -> bool:
    """Say whether a result backend is PostgreSQL."""
    return bool(RESULTS.match(url))


def options(url: str) -> dict[str, str]:
    """Return the parameters for PostgreSQL's library in a URL."""
    return dict(parse_qsl(urlsplit(url).query))


def checked(parameters: Mapping[str, Any], authority: str) -> dict[str, str]:
    """Return the additional parameters with which a client verifies certificate and host name.

    :param parameters: the client's parameters; a weaker ``sslmode`` among them stays in force.
    :param authority: the file of trusted certificates; without one, no TLS is required.
    """
    if not authority or parameters.get("sslmode", FULL) != FULL:
        return {}
    return {name: value for name, value in (("sslmode", FULL), ("sslrootcert", authority)) if name not in parameters}


def remedy(problem: str) -> str:
    """Return the remedy for an error of PostgreSQL, an empty string for any other error."""
    return look_up(REMEDIES, problem)


def with_remedy(problem: str) -> str:
    """Return an error of PostgreSQL with its remedy, for the log."""
    message, advice = problem.strip().rstrip("."), remedy(problem)
    return f"{message}. {advice}" if advice else message
