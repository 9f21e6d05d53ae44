"""A Redis of a test's own, with the kit's users and one who may do everything."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import docker
import redis

from celerykit import passwords
from tests.rig.containers import LABEL, REDIS_IMAGE
from tests.rig.waiting import until

PROGRAM = os.environ.get("CELERYKIT_TEST_REDIS_SERVER", "")
"""A redis-server of this machine to test with, instead of the kit's image."""


class Server:
    """A server that a test may restart, kill and stop; its data survive what it survives on hosts."""

    def __init__(self) -> None:
        self.password, self._root = secrets.token_hex(8), secrets.token_hex(8)
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        Path(self._folder.name).chmod(0o777)
        users = passwords.users(self.password, secrets.token_hex(8)) + f"user root on >{self._root} ~* &* +@all\n"
        (Path(self._folder.name) / "users.acl").write_text(users)
        self.port = _free_port()
        self.url = f"redis://celery:{self.password}@127.0.0.1:{self.port}/0"
        self.root = redis.Redis(port=self.port, username="root", password=self._root, socket_timeout=5)
        self._process: Any = None
        self._container: Any = None
        self.start()

    def start(self) -> None:
        """Start, or start again, and wait for an answer."""
        if PROGRAM:
            self._start_program()
        elif self._container is None:
            self._start_container()
        else:
            self._container.start()
        until(self._answers, 30, "Redis answers", pause=0.05)

    def reset(self) -> None:
        """Empty it, and take back what a test has set."""
        self.root.config_set("maxmemory", 0)
        self.root.replicaof("NO", "ONE")
        self.root.acl_load()
        self.root.flushall()
        self.root.script_flush()

    def signal(self, name: str) -> None:
        """Send a signal to the server itself."""
        if PROGRAM:
            self._process.send_signal(getattr(signal, name))
        else:
            self._container.kill(signal=name)

    def kill(self) -> None:
        """Kill it and wait for its end."""
        self.signal("SIGKILL")
        (self._process or self._container).wait()

    def close(self) -> None:
        """Remove it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._container is not None:
            self._container.remove(force=True, v=True)
        self._folder.cleanup()

    def _start_program(self) -> None:
        folder = self._folder.name
        options = {"port": self.port, "dir": folder, "aclfile": f"{folder}/users.acl", "appendonly": "yes", "save": ""}
        command = [PROGRAM, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _start_container(self) -> None:
        self._container = docker.from_env().containers.run(
            REDIS_IMAGE,
            detach=True,
            labels={LABEL: ""},
            ports={"6379/tcp": ("127.0.0.1", self.port)},
            volumes={self._folder.name: {"bind": "/secrets/redis", "mode": "ro"}},
        )

    def _answers(self) -> bool:
        try:
            return bool(self.root.ping())
        except redis.RedisError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
