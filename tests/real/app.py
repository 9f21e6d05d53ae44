"""An app of others: what is in its folder, and how it is deployed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import docker
import tomllib

from tests.real import sdists
from tests.rig.containers import CELERY_IMAGE

APPS = Path(__file__).parent / "apps"
INSIDE = Path(__file__).parent / "inside"
"""What ``drive.py`` of each app imports."""
IN_LOG = {"CELERY_WORKER_LOGLEVEL": "INFO"}
"""Celery's own default leaves out which jobs have succeeded."""
DEPLOYED = Path(".cache/real").resolve()


@dataclass(frozen=True)
class RealApp:
    """What ``apps/NAME/app.toml`` says.

    Beside it, ``source`` holds what its user writes, such as requirements and settings. In it, ``drive.py`` sends the
    app's own jobs and tells which of them are done, by :mod:`tests.real.inside.driving`. ``app.env`` holds the
    variables that the app reads for itself, ``compose.yaml`` the services that it needs beside the stack. An app that
    needs another Python has a ``Dockerfile`` in ``source``, and is an image of its own.
    """

    name: str
    title: str
    """The app's name for readers."""
    package: str
    """The distribution whose version is recorded."""
    celery_app: str
    """What ``CELERY_APP`` says."""
    jobs: str
    """The jobs that are sent, in a few words."""
    upstream: str = ""
    """A folder of an sdist, such as ``celery-5.7.0/examples/app``: the app as it is, beside which ``source`` lies."""
    refused: str = ""
    """The error by which Celery itself refuses the app, if it does."""
    stack: tuple[str, ...] = ("compose.yaml",)
    """The stack's files of Compose."""
    services: tuple[str, ...] = ("worker", "beat")
    """What runs while jobs do, beside Redis."""
    needs: tuple[str, ...] = ()
    """What must run before the app is set up, such as ``database``."""
    prepare: tuple[tuple[str, ...], ...] = ()
    """The commands that make what its folder lacks, in order, as its docs say."""
    setup: tuple[tuple[str, ...], ...] = ()
    """The commands that prepare the app, in order, as its docs say."""
    periodic: tuple[str, ...] = ()
    """Names of its own periodic tasks, each of which must have succeeded once."""
    records_periodic: bool = False
    """Whether ``drive.py`` counts those by the app's own records, as where all share one task."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables for Compose, such as ``CELERYKIT_MEMORY``."""
    number: int = 30
    """Jobs that are sent before each fault."""
    quick: bool = False
    """Whether a job takes no time, so that a worker would be idle again before the next is sent."""
    mind: tuple[str, ...] = ()
    """What who deploys it must know, a sentence each."""

    @classmethod
    def read(cls, name: str) -> RealApp:
        """Read an app's file."""
        held = tomllib.loads((APPS / name / "app.toml").read_text(encoding="utf-8"))
        environment = tuple(held.pop("environment", {}).items())
        commands = {key: tuple(map(tuple, held.pop(key, ()))) for key in ("prepare", "setup")}
        lists = {key: tuple(value) for key, value in held.items() if isinstance(value, list)}
        return cls(name, **{**held, **lists, **commands}, environment=environment)

    @property
    def folder(self) -> Path:
        """Return the folder of its files."""
        return APPS / self.name

    @property
    def source(self) -> Path:
        """Return the folder of what its user writes."""
        return self.folder / "source"

    @property
    def deployed(self) -> Path:
        """Return the folder that is deployed."""
        return DEPLOYED / self.name

    def lay_out(self) -> None:
        """Put the app and what its user writes into one folder, which others may read."""
        shutil.rmtree(self.deployed, ignore_errors=True)
        for folder in (*([sdists.folder(self.upstream)] if self.upstream else []), self.source, INSIDE):
            shutil.copytree(folder, self.deployed, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        for command in self.prepare:
            _run(command, self.deployed)
        for path in (self.deployed, *self.deployed.rglob("*")):
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))

    @property
    def image(self) -> str:
        """Return the name of its own image, if it has one."""
        return f"celerykit/real-{self.name}" if (self.source / "Dockerfile").exists() else ""

    @property
    def files(self) -> tuple[str, ...]:
        """Return the files of Compose, the stack's first."""
        own = self.folder / "compose.yaml"
        return (*self.stack, "tests/real/compose.yaml", *([str(own)] if own.exists() else []))

    @property
    def variables(self) -> dict[str, str]:
        """Return what a user writes into ``.env`` to deploy it."""
        own = self.folder / "app.env"
        named = {"CELERYKIT_APP_ENV_FILE": str(own)} if own.exists() else {}
        where = {"CELERYKIT_IMAGE": self.image} if self.image else {"CELERYKIT_APP_DIR": str(self.deployed)}
        told = {**where, "CELERY_APP": self.celery_app, **named}
        return {**told, **IN_LOG, **dict(self.environment)}


def names() -> list[str]:
    """Return the apps that there are."""
    return sorted(file.parent.name for file in APPS.glob("*/app.toml"))


def _run(command: tuple[str, ...], folder: Path) -> None:
    """Run a command on a folder, by the kit's image: it has the programs that this machine may lack."""
    docker.from_env().containers.run(
        CELERY_IMAGE,
        list(command[1:]),
        entrypoint=command[0],
        user=f"{os.getuid()}:{os.getgid()}",
        volumes=[f"{folder}:/app"],
        working_dir="/app",
        remove=True,
    )
