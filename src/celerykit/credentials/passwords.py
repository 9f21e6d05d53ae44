"""The passwords of a stack in containers: made at its first start, kept in volumes, each service seeing only its own.

A folder for each reader: ``redis/`` holds the server's users with hashed passwords, ``celery/`` the URLs of the broker
and the result backend, ``flower/`` the login of the web page; ``rabbitmq/`` that server's users, and the operator's
password in the clear; ``postgresql/`` that server's user and rights.
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
"""Where the stack's Redis answers."""
RABBITMQ = {"amqp": "rabbitmq:5672", "amqps": "rabbitmq:5671"}
"""Where the stack's RabbitMQ answers, in the clear and by TLS."""
POSTGRESQL = "postgresql:5432"
"""Where the stack's PostgreSQL answers."""
ADMIN = """\
[default]
hostname = localhost
vhost = {vhost}
username = operator
password = {operator}
"""
"""What ``rabbitmqadmin --config`` reads, inside the server's container."""

TEMPLATE = Path(__file__).with_name("users.acl.j2")
"""The users and what each may do: one text for the containers and for Ansible's role ``redis``."""
POSTGRESQL_TEMPLATE = Path(__file__).with_name("users.sql")
"""The user of PostgreSQL and what it may do."""
KEPT = (Path("/var/lib/celery"), Path("/run/celery"))
"""Where the volumes of the stack's processes are mounted while passwords are made."""
ITERATIONS = 4096
"""As PostgreSQL has them; the password is random."""


def write(folder: Path, server: str = SERVER, queues: Sequence[str] = (), *, postgresql: bool = False) -> list[Path]:
    """Make what is missing under ``folder`` and leave every password that is there.

    The servers' users follow from the passwords, so they are written anew where the kit's rules have changed. URLs are
    of TLS where an authority is named: ``CELERYKIT_TLS_CA``.

    :param server: ``host:port`` of Redis for the URLs.
    :param queues: those of RabbitMQ; without any, there is none.
    :param postgresql: whether there is a PostgreSQL.
    :returns: the files that were written.
    """
    wanted = _wanted(folder, server) | (_wanted_by_rabbitmq(folder, queues) if queues else {})
    wanted |= _wanted_by_postgresql(folder) if postgresql else {}
    return [folder / name for name, content in wanted.items() if secretfile.write(folder / name, content)]


def open_to_group(folders: Sequence[Path]) -> None:
    """Let the group write into what the stack's processes keep, where the folder is there and this user's.

    An image of somebody else's has another user, in this group; a volume of an earlier release is closed to it.
    """
    for folder in folders:
        if folder.is_dir() and folder.stat().st_uid == os.getuid():
            folder.chmod(0o2770)


def users(celery_password: str, results_password: str, health_password: str) -> str:
    """Return the ACL file of Redis: passwords as hashes, nobody without one."""
    text = re.sub(r"\s*\{#-.*?#\}", "", TEMPLATE.read_text(encoding="utf-8"), flags=re.DOTALL).lstrip()
    for user, password in (("celery", celery_password), ("results", results_password)):
        text = text.replace(f"{{{{ __redis_{user}_sha256 }}}}", _hash(password))
    return f"{text}user health on #{_hash(health_password)} resetkeys resetchannels -@all +ping\n"


def _wanted(folder: Path, server: str) -> dict[str, str]:
    """Return what each file is to hold, taking the passwords that exist from the files that hold them in the clear."""
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
        # Last: a first start that is cut short never leaves users whose passwords nobody has.
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
    own = settings.from_environment(os.environ)
    users = rabbitmq_definitions.definitions(passwords, queues, own)
    return {**urls, OPERATOR: ADMIN.format(vhost=rabbitmq_definitions.VHOST, **passwords), DEFINITIONS: users}


def _wanted_by_postgresql(folder: Path) -> dict[str, str]:
    password = next(
        (known for file in POSTGRESQL_URLS if (known := _password("celery", secretfile.read(folder / file)))), _random()
    )
    urls = {file: url.format(password=password, server=POSTGRESQL) for file, url in POSTGRESQL_URLS.items()}
    return {**urls, POSTGRESQL_USERS: postgresql_users(password)}


def postgresql_users(password: str) -> str:
    """Return what PostgreSQL runs at each start in the database of Celery: its user, who owns what it makes there.

    It makes tables for results, and a schema of its own for PGMQ, and may do nothing beside.
    """
    text = POSTGRESQL_TEMPLATE.read_text(encoding="utf-8")
    return text.replace("{{ verifier }}", _scram(password))


def _scram(password: str) -> str:
    """Return what PostgreSQL keeps of a password (RFC 5803), from which nobody can log in."""
    # The salt follows from the password, so that the same password makes the same file.
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
    """Return the password in a URL, if it is this user's."""
    parts = urlsplit(url)
    return (parts.password or "") if parts.username == user else ""
