"""What PostgreSQL says when it refuses, and how to mend it."""

from __future__ import annotations

from celerykit.errors import look_up

REMEDIES = {
    r"password authentication failed": "Give the user and password that PostgreSQL knows, URL-encoded, in its URL",
    r'database ".*" does not exist': "Make the database, or mend the name at the end of the URL",
    r"no pg_hba\.conf entry|pg_hba\.conf rejects": "Let this user into this database from here in the server's "
    "pg_hba.conf, or mend user or database in the URL",
    r"permission denied for database": "Let the user make the schema pgmq: GRANT CREATE ON DATABASE name TO user",
    r"permission denied for schema": "Make the user the owner of the schema, or name one who is, in the URL",
    r"too many (clients|connections)|connection slots are reserved": "Raise max_connections of the server",
}
"""What to do about what PostgreSQL says, as a regular expression."""


def remedy(problem: str) -> str:
    """Return what to do about a refusal of PostgreSQL, nothing about anything else."""
    return look_up(REMEDIES, problem)


def with_remedy(problem: str) -> str:
    """Return what PostgreSQL says and what to do about it, for a log that has nothing else to say."""
    said, known = problem.strip().rstrip("."), remedy(problem)
    return f"{said}. {known}" if known else said
