"""One app of others on the stack of ``docker compose up``: its jobs through a restart and a kill of the worker."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from celerykit.errors import Finding
from tests.rig import ownimage
from tests.rig.compose import Stack
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from tests.real.app import RealApp

PATIENCE = 300.0
"""Seconds until all jobs of a round must be done."""
AT_WORK = 2
"""Jobs that are done before a fault: then others run."""
FOR_PERIODIC = 240.0
CLIENT = ("run", "--rm", "--no-deps", "--no-TTY", "client")
DRIVE = (*CLIENT, "python", "/srv/app/current/drive.py")
SUCCEEDED = re.compile(r"Task (\S+)\[(\S+)\] succeeded")
VERSIONS = (
    "import json, platform, sys; from importlib.metadata import version; "
    "print(json.dumps({name: version(name) for name in sys.argv[1:]} | {'python': platform.python_version()}))"
)


class Deployment:
    """An app that is deployed, until the end of the block."""

    def __init__(self, app: RealApp, project: str):
        self.app = app
        self.stack = Stack(project, app.files, app.variables)
        self._sent: set[str] = set()

    def __enter__(self) -> Deployment:
        """Install the app, prepare it as its docs say, and start what runs its jobs."""
        try:
            self.stack.remove()  # what a run has left that was killed
            say(self.app, "install")
            self._install()
            self.stack.compose("up", "--detach", "--wait", "--wait-timeout", "240", "redis", *self.app.needs)
            for command in self.app.setup:
                say(self.app, f"set up: {' '.join(command)}")
                self.stack.compose(*CLIENT, *command)
            if self.app.services:
                self.stack.compose("up", "--detach", "--wait", "--wait-timeout", "600", *self.app.services)
        except BaseException as exc:
            self.__exit__(type(exc), exc, exc.__traceback__)
            raise
        return self

    def _install(self) -> None:
        """Put the app where the stack has it: on a volume, or in an image of its own."""
        self.app.lay_out()
        if self.app.image:
            ownimage.build(self.app.deployed, self.app.image)
            return
        if "CELERYKIT_APT" in dict(self.app.environment):  # then its compose.yaml names images of its own
            self.stack.compose("build", "passwords", "app")
        self.stack.compose("up", "--no-build", "app")

    def __exit__(
        self, _: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove everything of it."""
        if exc:
            print(self.stack.compose("--ansi", "never", "logs", "--no-color", "--tail", "100"), flush=True)
        self.stack.remove()

    def versions(self) -> dict[str, str]:
        """Return the releases that the app runs with."""
        packages = dict.fromkeys((self.app.package, "celery", "kombu", "redis"))
        return dict(json.loads(self.stack.compose(*CLIENT, "python", "-c", VERSIONS, *packages).splitlines()[-1]))

    def check(self) -> list[str]:
        """Return what ``celerykit check`` says of the app, a line each, whatever the app prints before and after it."""
        said = self.stack.ask(*CLIENT, "celerykit", "check", "--format", "json").stdout
        findings, _ = json.JSONDecoder().raw_decode(
            said, [match.start() for match in re.finditer("^\\[", said, re.M)][-1]
        )
        return [str(Finding(**finding)) for finding in findings]

    def refusal(self) -> str:
        """Return the error by which Celery refuses the app, without the kit and with it."""
        without = ("env", "--unset", "CELERY_LOADER", "python", "-c", f"import {self.app.celery_app}")
        said = self.stack.ask(*CLIENT, *without).stderr.splitlines()
        error = next((line for line in said if self.app.refused in line), "")
        assert error, f"Celery does not say {self.app.refused}: {said}"
        assert any(self.app.refused in line for line in self.check()), "celerykit check does not say it"
        return error

    def send(self, number: int) -> list[str]:
        """Send so many of the app's own jobs, and return their keys."""
        return list(self._drive("send", str(number)))

    def done(self, sent: set[str]) -> set[str]:
        """Return the keys of the jobs that are done, as the app itself records it."""
        return set(self._drive("done", told=json.dumps(sorted(sent))))

    def _drive(self, *arguments: str, told: str = "") -> Any:
        """Return what the app's ``drive.py`` answers on its last line: apps print before it what they like."""
        return json.loads(self.stack.compose(*DRIVE, *arguments, told=told).splitlines()[-1])

    def succeeded(self) -> Counter[tuple[str, str]]:
        """Return how often each job, by the name of its task and its id, has succeeded by the workers' logs."""
        logs = self.stack.compose("logs", "--no-log-prefix", "worker")
        return Counter(match.groups() for match in SUCCEEDED.finditer(logs))  # type: ignore[misc]

    def through(self, fault: Callable[[], None]) -> dict[str, int]:
        """Do something to the worker while jobs run, and count them when all are done, or after :data:`PATIENCE`.

        :raises AssertionError: if none was left for after the fault.
        """
        before = self.succeeded()
        with ThreadPoolExecutor() as beside:
            sending = beside.submit(self.send, self.app.number)
            if self.app.quick:
                self._hold_until(sending)
            until(lambda: (self.succeeded() - before).total() >= AT_WORK, 120, f"{AT_WORK} jobs done, by the log")
            at_fault = self.succeeded()
            fault()
        sent = set(sending.result())
        self._sent |= sent
        began = time.monotonic()
        while (lost := sent - self.done(sent)) and time.monotonic() - began < PATIENCE:
            time.sleep(2)
        at_end = self.succeeded()
        left = at_end.keys() - at_fault.keys()
        assert left or lost, f"all {len(sent)} jobs were done before the fault: app.toml must send more (number)"
        twice = [job for job, times in (at_end - before).items() if times > 1]
        return {"sent": len(sent), "done after it": len(left), "lost": len(lost), "done twice": len(twice)}

    def _hold_until(self, sent: Future[list[str]]) -> None:
        """Pause the worker until all jobs are sent, so that it is busy with what waits."""
        self.stack.compose("pause", "worker")
        sent.result()
        self.stack.compose("unpause", "worker")

    def restart(self) -> None:
        """Restart the worker as an operator does."""
        self.stack.compose("restart", "worker")

    def kill(self) -> None:
        """Kill the worker with all its processes, and start it again."""
        for process in self.stack.processes("worker"):
            process.kill()
            process.start()

    def seen(self) -> dict[str, int]:
        """Return how often each of the app's periodic tasks that beat sent has succeeded, when each has once."""

        def counted() -> dict[str, int]:
            if self.app.records_periodic:
                times = self._drive("periodic")
            else:
                times = Counter(name for name, job in self.succeeded().elements() if job not in self._sent)
            return {name: times.get(name, 0) for name in self.app.periodic}

        until(lambda: all(counted().values()), FOR_PERIODIC, lambda: f"each periodic task: {counted()}", pause=2.0)
        return counted()


def run(app: RealApp, project: str) -> dict[str, Any]:
    """Deploy an app, let its worker be restarted and killed under load, and return what was seen."""
    with Deployment(app, project) as deployment:
        made: dict[str, Any] = {"versions": deployment.versions(), "check": deployment.check()}
        if app.refused:
            return {**made, "refused": deployment.refusal()}
        for name, fault in {"restarted": deployment.restart, "killed": deployment.kill}.items():
            made[name] = deployment.through(fault)
            say(app, f"{name}: {made[name]}")
        made["periodic"] = deployment.seen()
        return made


def is_kept(outcome: Mapping[str, Any]) -> bool:
    """Say whether no job was lost."""
    return "refused" in outcome or not any(outcome[name]["lost"] for name in ("restarted", "killed"))


def say(app: RealApp, text: str) -> None:
    """Tell who waits how far it is."""
    print(f"apps: {app.name}: {text}", flush=True)
