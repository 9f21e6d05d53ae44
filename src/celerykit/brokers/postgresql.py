"""TLS to PostgreSQL, what it says when it refuses, and how to mend that."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from celerykit.config.settings import AUTHORITY
from celerykit.errors import look_up

if TYPE_CHECKING:
    from collections.abc import Mapping

FULL = "verify-full"
"""The one ``sslmode`` in which nobody else can stand in for the server."""
RESULTS = re.compile(r"db\+postgresql(\+psycopg2?)?:")
"""How the URL of a result backend begins whose client takes what PostgreSQL's own library is told."""
REMEDIES = {
    r"password authentication failed": "Give the user and password that PostgreSQL knows, URL-encoded, in its URL",
    r'database ".*" does not exist': "Make the database, or mend the name at the end of the URL",
    r"no encryption": "TLS alone is spoken there: name the file with the certificate of the server's authority in "
    f"{AUTHORITY}, and leave sslmode out of the URL",
    r"no pg_hba\.conf entry|pg_hba\.conf rejects": "Let this user into this database from here in the server's "
    "pg_hba.conf, or mend user or database in the URL",
    r"permission denied for database": "Let the user make the schema pgmq: GRANT CREATE ON DATABASE name TO user",
    r"permission denied for schema": "Make the user the owner of the schema, or name one who is, in the URL",
    r"too many (clients|connections)|connection slots are reserved": "Raise max_connections of the server",
    r"server certificate for .* does not match host name": "Write the host in the URL as its certificate names it, or "
    "give it a certificate for this name",
    # PostgreSQL's library says no more, whatever is wrong.
    r"certificate verify failed": f"Name the file with the certificate of the server's authority in {AUTHORITY}; an "
    "sslrootcert of the URL or the app goes before it. Renew the server's certificate, and let the server read it, if "
    "it has expired",
    r"server does not support SSL": f"No TLS is spoken there, and {AUTHORITY} asks for it: have the server speak it, "
    "or say sslmode=disable in the URL",
}
"""What to do about what PostgreSQL and its library say, as a regular expression."""


def is_of(url: str) -> bool:
    """Say whether a result backend is PostgreSQL."""
    return bool(RESULTS.match(url))


def options(url: str) -> dict[str, str]:
    """Return what a URL tells PostgreSQL's library."""
    return dict(parse_qsl(urlsplit(url).query))


def checked(told: Mapping[str, Any], authority: str) -> dict[str, str]:
    """Return what a client has to be told besides, so that it checks certificate and host name.

    :param told: what it is told already; one that is not to check everything, or to speak no TLS, is left at that.
    :param authority: the file of certificates to trust; where there is none, nothing says that TLS is wanted.
    """
    if not authority or told.get("sslmode", FULL) != FULL:
        return {}
    return {name: value for name, value in (("sslmode", FULL), ("sslrootcert", authority)) if name not in told}


def remedy(problem: str) -> str:
    """Return what to do about a refusal of PostgreSQL, nothing about anything else."""
    return look_up(REMEDIES, problem)


def with_remedy(problem: str) -> str:
    """Return what PostgreSQL says and what to do about it, for a log that has nothing else to say."""
    said, known = problem.strip().rstrip("."), remedy(problem)
    return f"{said}. {known}" if known else said
