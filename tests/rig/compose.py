"""The stack of ``docker compose up`` under a project name of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import docker

from tests.rig.client import Client
from tests.rig.containers import APPS
from tests.rig.process import Process
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.rig.ledger import Ledger

ROOT = Path(__file__).parents[2]
BARE = ("compose.yaml",)
WITH_LEDGER = ("compose/stack.yaml", "compose/ledger.yaml")


class Stack:
    """One project of Compose; :meth:`remove` leaves nothing of it."""

    def __init__(self, project: str, files: Sequence[str], environment: Mapping[str, str], folder: Path = ROOT):
        self.project = project
        self._files = files
        self._folder = folder
        self._environment = {**os.environ, **environment}

    @classmethod
    def with_ledger(cls, project: str, ledger: Ledger, files: Sequence[str] = WITH_LEDGER, **environment: str) -> Stack:
        """Return the stack with the survival apps and a ledger outside of it."""
        told = {"CELERYKIT_APP_DIR": str(APPS), "CELERY_APP": "plain", "CELERYKIT_LEDGER": str(ledger.folder)}
        return cls(project, files, {**told, **environment})

    @classmethod
    def of_folder(cls, project: str, folder: Path, environment: Mapping[str, str]) -> Stack:
        """Return the stack of another checkout: a folder with all of this one, beside what a test puts there."""
        for name in ("compose", "compose.yaml", "examples", "images", "src", "tests"):
            (folder / name).symlink_to(ROOT / name)
        return cls(project, (), environment, folder)

    def compose(self, *arguments: str, told: str = "") -> str:
        """Run Compose, tell it something, and return what it prints.

        :raises AssertionError: with all its output, if it fails.
        """
        done = self.ask(*arguments, told=told)
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def ask(self, *arguments: str, told: str = "") -> subprocess.CompletedProcess[str]:
        """Run Compose, and return what came of it even if it fails."""
        files = [word for file in self._files for word in ("--file", str(file))]
        where = ("--project-name", self.project, "--project-directory", str(self._folder))
        command = ["docker", "compose", *where, *files, *arguments]
        return subprocess.run(
            command, cwd=self._folder, env=self._environment, input=told, capture_output=True, text=True, check=False
        )

    def up(self, *services: str, workers: int = 1) -> None:
        """Start services, all by default, and wait until they do their work."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", "240", "--scale", f"worker={workers}", *services)

    def processes(self, service: str) -> list[Process]:
        """Return the running containers of a service."""
        engine = docker.from_env()
        return [Process(engine.containers.get(name)) for name in self.compose("ps", "--quiet", service).split()]

    def only(self, service: str) -> Process:
        """Return the only container of a service."""
        (process,) = self.processes(service)
        return process

    def client(self, ledger: Ledger) -> Client:
        """Return a client of the stack's broker: its port on loopback is Docker's choice, its passwords the stack's."""
        files = ("/secrets/celery/broker-url", "/secrets/celery/result-backend")
        urls = self.compose("run", "--rm", "--no-deps", "--no-TTY", "client", "tail", "--lines=+1", *files)
        address = self.compose("port", "redis", "6379").strip()
        broker, results = re.findall(r"^redis.*", urls.replace("redis:6379", address), re.MULTILINE)
        client = Client(broker, ledger, results)
        until(client.ping, 60, "Redis answers")
        return client

    def remove(self) -> None:
        """Take it down with its volumes."""
        self.compose("--profile", "flower", "--profile", "client", "down", "--volumes", "--timeout", "10")
