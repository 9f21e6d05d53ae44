"""The owner of a stack: the folder that started it first, in a file beside its passwords.

Compose identifies a stack by the name of its project alone. A second folder with an equal project name may hold another
app, and its workers would not know the jobs in the queues.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from celerykit import secretfile
from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = "/checkout"
"""The mount of the stack's folder in the container. The kernel knows its path on the host, for any call of Compose."""
MOUNTS = Path("/proc/self/mountinfo")
MARKER = "celery/owner"
OVERRIDES = ("compose.override.yaml", "compose.override.yml", "docker-compose.override.yml")

BROKERS = {"rabbitmq.yaml": "rabbitmq-worker-url", "pgmq.yaml": "postgresql-broker"}
"""The stack's files for another broker than Redis, each with the file of its workers' broker URL."""
OF_THE_STACK = re.compile(r"extends:[^#\n]*(?:\n\s+)?file:\s*['\"]?(?:\./)?compose/stack\.yaml")


def owner(environ: Mapping[str, str], mounts: str) -> str:
    """Return the owner of this stack: its name, else its folder on the host, else an empty string."""
    return environ.get("CELERYKIT_OWNER") or _folder(mounts)


def claim(folder: Path, who: str, environ: Mapping[str, str]) -> bool:
    """Write the owner of the stack into its file.

    :param folder: the folder of the passwords.
    :returns: whether the file is new or changed.
    :raises ConfigurationError: if the stack has another owner.
    """
    marker = folder / MARKER
    holder = secretfile.read(marker)
    if holder and holder not in {who, environ.get("CELERYKIT_MOVED_FROM", "").rstrip("/")}:
        raise ConfigurationError(_taken(marker, holder, who, environ.get("COMPOSE_PROJECT_NAME", "")))
    return secretfile.write(marker, who)


def overlooked(checkout: Path, files: str) -> list[Finding]:
    """Return a finding for an override file that Compose does not read because ``COMPOSE_FILE`` omits it."""
    named = {Path(name).name for name in files.split(":")}
    # Before Python 3.12, Path.exists raises an error for a closed folder.
    unread = [name for name in OVERRIDES if files and name not in named and os.path.exists(checkout / name)]  # noqa: PTH110
    problem = "is not among them, so Compose does not read it"
    return [
        Finding("COMPOSE_FILE", files, "environment or .env", f"{name} {problem}", f"Let it end in :{name}")
        for name in unread
    ]


def on_another_broker(checkout: Path, files: str) -> list[Finding]:
    """Return the files of ``COMPOSE_FILE`` with pools that consume from Redis while the broker is another.

    A pool that extends the worker of ``compose/stack.yaml`` gets the settings of that file alone.
    """
    names = files.split(":")
    wanted = {url for name in names if (url := BROKERS.get(Path(name).name))}
    return [
        Finding(
            "COMPOSE_FILE",
            files,
            name,
            "a pool of it extends the worker of compose/stack.yaml, whose broker is Redis: no job reaches it",
            f"Give each pool there CELERY_BROKER_URL_FILE: /secrets/celery/{url} under its environment, and all that "
            "the worker has in the named files; see compose/examples/pools.yaml",
        )
        for name in names
        for url in wanted
        if (text := _read(checkout / name)) and OF_THE_STACK.search(text) and url not in text
    ]


def _read(path: Path) -> str:
    """Return a file's text without its comments, an empty string if it is not readable."""
    try:
        return re.sub(r"#.*", "", path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""


def _folder(mounts: str) -> str:
    """Return the folder of the host that is mounted at :data:`CHECKOUT`."""
    mounted = [line.split(" ")[3] for line in mounts.splitlines() if line.split(" ")[4:5] == [CHECKOUT]]
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mounted[-1]) if mounted else ""


def _taken(marker: Path, holder: str, who: str, project: str) -> Finding:
    return Finding(
        "COMPOSE_PROJECT_NAME",
        project,
        str(marker),
        f"the stack of this name is that of {holder}, with its jobs and passwords, and this is {who}",
        "Nothing of it was changed, but its containers may have been stopped: start it there again by 'docker compose "
        "up --detach'. For a second stack on this machine, put two lines into the file .env of this folder: "
        "COMPOSE_PROJECT_NAME=NAME and CELERYKIT_FLOWER_PORT=5556. If it is the same stack, whose folder was moved or "
        f"renamed, say so once: CELERYKIT_MOVED_FROM={holder}",
    )
