"""The passwords of a stack in containers: made at its first start, in volumes; each service sees only its own.

Each reader has a folder:

- ``redis/``: the server's users with hashed passwords
- ``celery/``: the URLs of the broker and the result backend
- ``flower/``: the login of the web page
- ``rabbitmq/``: the server's users, and the operator's password in plain text
- ``postgresql/``: the server's user and rights
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from celerykit import secretfile
from celerykit.brokers import rabbitmq_definitions
from celerykit.config import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

BROKER_URL = "celery/broker-url"
RESULT_BACKEND = "celery/result-backend"
FLOWER_LOGIN = "flower/basic-auth"
HEALTH_PASSWORD = "redis/health"  # noqa: S105  # a file's name
USERS = "redis/users.acl"
RABBITMQ_URLS = {name: f"celery/rabbitmq-{name}-url" for name in ("worker", "producer")}
OPERATOR = "rabbitmq/operator.conf"
DEFINITIONS = "rabbitmq/definitions.json"
POSTGRESQL_URLS = {
    "celery/postgresql-results": "db+postgresql+psycopg://celery:{password}@{server}/celery?connect_timeout=5",
    "celery/postgresql-broker": "pgmq://celery:{password}@{server}/celery",
}
POSTGRESQL_USERS = "postgresql/users.sql"

SERVER = "redis:6379"
"""Host and port of the stack's Redis."""
RABBITMQ = {"amqp": "rabbitmq:5672", "amqps": "rabbitmq:5671"}
"""Host and port of the stack's RabbitMQ, without TLS and with it."""
POSTGRESQL = "postgresql:5432"
"""Host of the stack's PostgreSQL."""
ADMIN = """\
[default]
hostname = localhost
vhost = {vhost}
username = operator
password = {operator}
"""
"""The file for ``rabbitmqadmin --config``, inside the server's container."""

TEMPLATE = Path(__file__).with_name("users.acl.j2")
"""The users of Redis and their rights: one text for the containers and for Ansible's role ``redis``."""
POSTGRESQL_TEMPLATE = Path(__file__).with_name("users.sql")
"""The user of PostgreSQL and its rights."""
KEPT = (Path("/var/lib/celery"), Path("/run/celery"))
"""The mounts of the processes' volumes in the container that makes the passwords."""
ITERATIONS = 4096
"""Rounds of SCRAM, PostgreSQL's default: enough, because the password is random."""


def write(folder: Path, server: str = SERVER, queues: Sequence[str] = (), *, postgresql: bool = False) -> list[Path]:
    """Make the missing passwords under ``folder``, and keep the existing ones.

    The servers' users follow from the passwords, so a change of the kit's rules rewrites them. URLs require TLS where
    ``CELERYKIT_TLS_CA`` names an authority.

    :param server: ``host:port`` of Redis for the URLs.
    :param queues: the queues on RabbitMQ; without any, there is no RabbitMQ.
    :param postgresql: whether there is a PostgreSQL.
    :returns: the files that were written.
    """
    wanted = _wanted(folder, server) | (_wanted_by_rabbitmq(folder, queues) if queues else {})
    wanted |= _wanted_by_postgresql(folder) if postgresql else {}
    return [folder / name for name, content in wanted.items() if secretfile.write(folder / name, content)]


def open_to_group(folders: Sequence[Path]) -> None:
    """Make the processes' folders writable for their group, if they exist and belong to this user.

    An app's own image has another user in this group; a volume of an earlier release is closed to that user.
    """
    for folder in folders:
        if folder.is_dir() and folder.stat().st_uid == os.getuid():
            folder.chmod(0o2770)


def users(celery_password: str, results_password: str, health_password: str) -> str:
    """Return the ACL file of Redis: passwords as hashes, and no user without a password."""
    text = re.sub(r"\s*\{#-.*?#\}", "", TEMPLATE.read_text(encoding="utf-8"), flags=re.DOTALL).lstrip()
    for user, password in (("celery", celery_password), ("results", results_password)):
        text = text.replace(f"{{{{ __redis_{user}_sha256 }}}}", _hash(password))
    return f"{text}user health on #{_hash(health_password)} resetkeys resetchannels -@all +ping\n"


def _wanted(folder: Path, server: str) -> dict[str, str]:
    """Return the content of each file; take existing passwords from the files with plain text."""
    scheme = _scheme("redis")
    celery, results = (
        _password(user, secretfile.read(folder / file)) or _random()
        for user, file in (("celery", BROKER_URL), ("results", RESULT_BACKEND))
    )
    health = secretfile.read(folder / HEALTH_PASSWORD) or _random()
    return {
        BROKER_URL: f"{scheme}://celery:{celery}@{server}/0",
        RESULT_BACKEND: f"{scheme}://results:{results}@{server}/1",
        FLOWER_LOGIN: secretfile.read(folder / FLOWER_LOGIN) or f"admin:{_random()}",
        HEALTH_PASSWORD: health,
        # Last: an interrupted first start never leaves users with unknown passwords.
        USERS: users(celery, results, health),
    }


def _wanted_by_rabbitmq(folder: Path, queues: Sequence[str]) -> dict[str, str]:
    passwords = {
        name: _password(name, secretfile.read(folder / file)) or _random() for name, file in RABBITMQ_URLS.items()
    }
    passwords["operator"] = secretfile.read(folder / OPERATOR).rpartition("password = ")[2].strip() or _random()
    scheme = _scheme("amqp")
    urls = {
        file: f"{scheme}://{name}:{passwords[name]}@{RABBITMQ[scheme]}/{rabbitmq_definitions.VHOST}"
        for name, file in RABBITMQ_URLS.items()
    }
    config = settings.from_environment(os.environ)
    users = rabbitmq_definitions.definitions(passwords, queues, config)
    return {**urls, OPERATOR: ADMIN.format(vhost=rabbitmq_definitions.VHOST, **passwords), DEFINITIONS: users}


def _wanted_by_postgresql(folder: Path) -> dict[str, str]:
    password = next(
        (kept for file in POSTGRESQL_URLS if (kept := _password("celery", secretfile.read(folder / file)))), _random()
    )
    urls = {file: url.format(password=password, server=POSTGRESQL) for file, url in POSTGRESQL_URLS.items()}
    return {**urls, POSTGRESQL_USERS: postgresql_users(password)}


def postgresql_users(password: str) -> str:
    """Return the SQL that PostgreSQL runs at each start in Celery's database: it makes the user, and sets its rights.

    The user may make and own tables for results and a schema for PGMQ; it has no other rights.
    """
    text = POSTGRESQL_TEMPLATE.read_text(encoding="utf-8")
    return text.replace("{{ verifier }}", _scram(password))


def _scram(password: str) -> str:
    """Return PostgreSQL's verifier of a password (RFC 5803); nobody can log in with it."""
    # The salt follows from the password, so that equal passwords make equal files.
    salt = hashlib.sha256(f"celery:{password}".encode()).digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    client, server = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    encoded = [base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client).digest(), server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def _scheme(plain: str) -> str:
    """Return the scheme of URLs: ``redis``, or ``rediss``."""
    return f"{plain}s" if settings.from_environment(os.environ).tls_ca else plain


def _random() -> str:
    """Return 192 random bits in letters that need no quoting in a URL, an env file or a shell."""
    return secrets.token_hex(24)


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _password(user: str, url: str) -> str:
    """Return the password in a URL of this user, an empty string for another user's URL."""
    parts = urlsplit(url)
    return (parts.password or "") if parts.username == user else ""
