"""Whose a stack is: the folder that started it first, written down beside its passwords.

Compose takes every folder for the same stack whose project has the same name. Another folder has another app, whose
workers would not know the jobs that wait.
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
"""Where the stack has its own folder. The kernel says which one that is, however Compose was called."""
MOUNTS = Path("/proc/self/mountinfo")
MARKER = "celery/owner"
OVERRIDES = ("compose.override.yaml", "compose.override.yml", "docker-compose.override.yml")

BROKERS = {"rabbitmq.yaml": "rabbitmq-worker-url", "pgmq.yaml": "postgresql-broker"}
"""The stack's files that choose another broker than Redis, each with the file of the URL that its workers have."""
OF_THE_STACK = re.compile(r"extends:[^#\n]*(?:\n\s+)?file:\s*['\"]?(?:\./)?compose/stack\.yaml")


def owner(environ: Mapping[str, str], mounts: str) -> str:
    """Return what this stack is known by: its name, else its folder on the host, nothing where it has neither."""
    return environ.get("CELERYKIT_OWNER") or _folder(mounts)


def claim(folder: Path, who: str, environ: Mapping[str, str]) -> bool:
    """Write down whose the stack is.

    :param folder: where the passwords are.
    :returns: whether that is new.
    :raises ConfigurationError: if it is another's.
    """
    marker = folder / MARKER
    known = secretfile.read(marker)
    if known and known not in {who, environ.get("CELERYKIT_MOVED_FROM", "").rstrip("/")}:
        raise ConfigurationError(_taken(marker, known, who, environ.get("COMPOSE_PROJECT_NAME", "")))
    return secretfile.write(marker, who)


def overlooked(checkout: Path, files: str) -> list[Finding]:
    """Return the override file that Compose would read by itself, if ``COMPOSE_FILE`` names others only."""
    named = {Path(name).name for name in files.split(":")}
    # Before Python 3.12, Path.exists complains of a folder that is closed to others.
    found = [name for name in OVERRIDES if files and name not in named and os.path.exists(checkout / name)]  # noqa: PTH110
    problem = "is not among them, so Compose does not read it"
    return [
        Finding("COMPOSE_FILE", files, "environment or .env", f"{name} {problem}", f"Let it end in :{name}")
        for name in found
    ]


def on_another_broker(checkout: Path, files: str) -> list[Finding]:
    """Return the files of ``COMPOSE_FILE`` whose pools would take jobs from Redis, where the broker is another.

    A pool that extends the worker of ``compose/stack.yaml`` has what that file says, and nothing of the others.
    """
    names = files.split(":")
    wanted = {url for name in names if (url := BROKERS.get(Path(name).name))}
    return [
        Finding(
            "COMPOSE_FILE",
            files,
            name,
            "a pool of it extends the worker of compose/stack.yaml, whose broker is Redis: no job reaches it",
            f"Give each pool there CELERY_BROKER_URL_FILE: /secrets/celery/{url} under its environment, and what else "
            "the worker has in the named files; see compose/examples/pools.yaml",
        )
        for name in names
        for url in wanted
        if (text := _read(checkout / name)) and OF_THE_STACK.search(text) and url not in text
    ]


def _read(path: Path) -> str:
    """Return what a file of the checkout says without its comments, nothing if it may not be read."""
    try:
        return re.sub(r"#.*", "", path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""


def _folder(mounts: str) -> str:
    """Return the folder of the host that is mounted at the checkout's place."""
    found = [line.split(" ")[3] for line in mounts.splitlines() if line.split(" ")[4:5] == [CHECKOUT]]
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), found[-1]) if found else ""


def _taken(marker: Path, known: str, who: str, project: str) -> Finding:
    return Finding(
        "COMPOSE_PROJECT_NAME",
        project,
        str(marker),
        f"the stack of this name is that of {known}, with its jobs and passwords, and this is {who}",
        "Nothing of it was changed, but its containers may have been stopped: start it there again by 'docker compose "
        "up --detach'. For a second stack on this machine, put two lines into the file .env of this folder: "
        "COMPOSE_PROJECT_NAME=NAME and CELERYKIT_FLOWER_PORT=5556. If it is the same stack, whose folder was moved or "
        f"renamed, say so once: CELERYKIT_MOVED_FROM={known}",
    )
