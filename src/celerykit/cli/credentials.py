"""The commands that make passwords and certificates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from celerykit.cli.readiness import warn
from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    import argparse

    from celerykit.cli.groups import Group


def add_passwords(group: Group) -> None:
    """Add the command ``passwords``."""
    command = group.add("passwords", "make the missing passwords of a stack in containers", _passwords)
    command.add_argument("folder", nargs="?", default="/secrets", help="default: %(default)s")
    command.add_argument("--server", default="redis:6379", help="host and port of Redis, default: %(default)s")
    help_text = "also for RabbitMQ, with these queues of jobs, such as celery,reports"
    command.add_argument("--rabbitmq", metavar="QUEUES", default="", help=help_text)
    command.add_argument("--postgresql", action="store_true", help="also for PostgreSQL")


def add_certificates(group: Group) -> None:
    """Add the command ``certificates``."""
    examples = ("celerykit certificates redis rabbitmq=mq.example.org", "celerykit certificates redis --renew")
    summary = "make an authority and its servers' certificates, once"
    command = group.add("certificates", summary, _certificates, examples)
    command.add_argument("servers", nargs="+", metavar="SERVER[=NAME,...]", help="such as redis, with its other names")
    command.add_argument("--folder", default="/secrets", help="default: %(default)s")
    help_text = "renew the certificates by the present authority; servers read them at a reload"
    command.add_argument("--renew", action="append_const", dest="steps", const="renew", help=help_text)
    help_text = "make a new authority, trusted beside the old one; once all clients trust it, --renew uses it"
    command.add_argument("--new-authority", action="append_const", dest="steps", const="authority", help=help_text)
    command.set_defaults(steps=[])


def _passwords(arguments: argparse.Namespace) -> int:
    from celerykit.credentials import owner, passwords

    who = owner.owner(os.environ, owner.MOUNTS.read_text(encoding="utf-8", errors="replace"))
    if who and owner.claim(Path(arguments.folder), who, os.environ):
        print(f"from now on, this stack is that of {who}")
    if who:  # without an owner, Compose has not started this stack
        passwords.open_to_group(passwords.KEPT)
    files = Path(owner.CHECKOUT), os.environ.get("COMPOSE_FILE", "")
    for finding in owner.overlooked(*files):
        warn(finding)
    if findings := owner.on_another_broker(*files):
        raise ConfigurationError(*findings)
    queues = [name for name in arguments.rabbitmq.split(",") if name]
    written = passwords.write(Path(arguments.folder), arguments.server, queues, postgresql=arguments.postgresql)
    for path in written:
        print(f"wrote {path}")
    if not written:
        print("every password is there: nothing to do")
    if written == [Path(arguments.folder) / passwords.USERS]:
        print("its users have changed: a Redis that runs already takes them up by 'docker compose restart redis'")
    return 0


def _certificates(arguments: argparse.Namespace) -> int:
    try:
        from celerykit.credentials import certificates
    except ImportError as exc:
        needed = Finding("cryptography", "", "Python path", str(exc), "Install celerykit[certificates]")
        raise ConfigurationError(needed) from exc
    named = (server.partition("=") for server in arguments.servers)
    servers = {server: [name for name in names.split(",") if name] for server, _, names in named}
    written = certificates.write(Path(arguments.folder), servers, *(arguments.steps or ()))
    for path in written:
        print(f"wrote {path}")
    if not written:
        print("every certificate is there: nothing to do")
    return 0
