"""A container of a test: what is asked of it, and what is done to it."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import docker
import testinfra

from celerykit.errors import EX_CONFIG
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker.models.containers import Container

READY = 240.0
"""Seconds within which a started process must be ready: at a load of 60 on two cores, a worker needs two minutes."""


class Process:
    """A worker, beat or broker in its container."""

    def __init__(self, container: Container):
        self.container = container

    @property
    def host(self) -> Any:
        """The container through testinfra, to look at it from inside."""
        return testinfra.get_host(f"docker://{self.container.id}")

    @property
    def logs(self) -> str:
        """All that it has written so far."""
        return self.container.logs().decode(errors="replace")

    @property
    def state(self) -> Mapping[str, Any]:
        """Docker's state of the container: Status, ExitCode, Pid, StartedAt, Health."""
        self.container.reload()
        state: Mapping[str, Any] = self.container.attrs["State"]
        return state

    @property
    def restarts(self) -> int:
        """How often Docker has started it again."""
        self.container.reload()
        return int(self.container.attrs["RestartCount"])

    def address(self, network: str) -> str:
        """Return its address in a network."""
        self.container.reload()
        return str(self.container.attrs["NetworkSettings"]["Networks"][network]["IPAddress"])

    def sh(self, command: str) -> str:
        """Run a shell command inside and return its output.

        :raises AssertionError: if it fails.
        """
        code, output = self.container.exec_run(["sh", "-c", command])
        assert code == 0, f"{command!r} ended with {code}: {output.decode(errors='replace')}"
        return str(output.decode())

    def probe(self, question: str, process: str = "worker") -> bool:
        """Ask ``live`` or ``ready``; a container that is down or about to start again is neither."""
        return self.answers(f"celerykit probe {process} --{question}")

    def answers(self, command: str) -> bool:
        """Say whether a command inside succeeds; in a container that is down, none does."""
        try:
            return bool(self.container.exec_run(command).exit_code == 0)
        except docker.errors.APIError as exc:
            if exc.status_code != HTTPStatus.CONFLICT:
                raise
            return False

    def wait_ready(self, seconds: float = READY, process: str = "worker") -> None:
        """Wait until it does its work."""
        until(lambda: self.probe("ready", process), seconds, self._why_not_ready)

    def _why_not_ready(self) -> str:
        if self.state["Running"]:
            self.signal("SIGUSR1")  # Celery writes the stacks of its threads
            time.sleep(1)
        return f"ready; log:\n{self.logs[-6000:]}"

    def wait_log(self, text: str, seconds: float = READY) -> None:
        """Wait for a text in its log."""
        until(lambda: text in self.logs, seconds, lambda: f"{text!r} in the log:\n{self.logs[-3000:]}")

    def signal(self, name: str) -> None:
        """Send a signal to the main process."""
        self.container.kill(signal=name)

    def children(self) -> list[int]:
        """Return the processes that the main process has started, by their ids inside."""
        # Not /proc/1/task/*/children: a thread that ends meanwhile takes its file along, and hands its children on.
        # grep also fails where it finds none, or where a process has ended meanwhile: both are answers.
        found = self.sh("grep -ls '^PPid:[[:space:]]1$' /proc/[0-9]*/status || true")
        return sorted(int(path.split("/")[2]) for path in found.split())

    def start(self) -> None:
        """Start the container again."""
        self.container.start()

    def stop(self, seconds: int = 60) -> float:
        """Stop as ``docker stop`` does, and return the seconds that it took."""
        began = time.monotonic()
        self.container.stop(timeout=seconds)
        return time.monotonic() - began

    def kill(self, seconds: float = 60) -> None:
        """Kill the main process and wait for its end."""
        self.signal("SIGKILL")
        self.wait_exit(seconds)

    def kill_and_start(self) -> None:
        """Kill PID 1 and start it again: to Docker a kill is a stop by hand, and only root may send one around it."""
        self.kill()
        self.start()

    def wait_exit(self, seconds: float) -> int:
        """Wait for the end of the main process and return its exit code."""
        until(lambda: self.state["Status"] == "exited", seconds, lambda: f"ended; log:\n{self.logs[-3000:]}")
        return int(self.state["ExitCode"])


def refused(process: Process, *texts: str) -> None:
    """Fail unless a process has ended as wrongly configured and said each of the texts."""
    assert process.wait_exit(90) == EX_CONFIG, process.logs
    for text in texts:
        assert text in process.logs, process.logs
