"""What a worker knows to be revoked: it hears of it as Celery's does, has it kept by the broker, and reads it there."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.utils.functional import maybe_list
from celery.worker import control, state
from celery.worker.consumer.control import Control as RemoteControl

from celerykit.compat import job_endings
from celerykit.control import revocations
from celerykit.messages.enqueue_time import SENT
from celerykit.worker.revocation_keeper import Keeper, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from celerykit.control.revocations import Revocation, Said

READ_PATIENCE = 5.0
"""Seconds that a worker waits, once it is connected, for what is revoked."""
WRITE_PATIENCE = 1.0
"""Seconds that the answer to whoever revokes waits until it is kept."""


class Revocations(bootsteps.Step):  # type: ignore[misc]
    """Keeps what this worker is told to revoke, and looks at each job before it begins."""

    requires = ("celerykit.worker.leases:Reservations",)

    def include_if(self, worker: Any) -> bool:
        """Only where the broker keeps them."""
        return revocations.store_of(worker.app) is not None

    def create(self, worker: Any) -> None:
        """Listen, and stand between the worker and its pool."""
        keeper = Keeper(worker.app.connection_for_read, revocations.store_of(worker.app))
        worker.revocations = revoked = Revoked(keeper)
        for name, read in COMMANDS.items():
            command = control.Panel.data[name]  # an app's own, if it has one of this name
            told = command.command if isinstance(command, Keeping) else command
            control.Panel.data[name] = Keeping(told, read, revoked)
        is_direct = worker.process_task == worker._process_task
        worker._process_task = unless_revoked(worker._process_task, revoked)
        if is_direct:
            worker.process_task = worker._process_task


class Reading(bootsteps.StartStopStep):  # type: ignore[misc]
    """Reads what was revoked while nobody told this worker: before its start, and while it was not connected.

    It begins when remote control has, so that what is not read is heard.
    """

    requires = ("celery.worker.consumer.control:Control",)

    def include_if(self, consumer: Any) -> bool:
        """Only where the broker keeps revocations."""
        return hasattr(consumer.controller, "revocations")

    def create(self, consumer: Any) -> None:
        """Have remote control answer when that is kept which it was told."""
        for step in consumer.steps:
            if isinstance(step, RemoteControl):
                node = step.box.node
                node.reply = after(consumer.controller.revocations.wait_kept, node.reply)

    def start(self, consumer: Any) -> None:
        """Read."""
        consumer.controller.revocations.read()

    def stop(self, consumer: Any) -> None:
        """Have the next job wait for another look."""
        consumer.controller.revocations.forget_reading()


def after(wait: Callable[[], None], reply: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``reply`` with a wait before it."""

    def reply_later(*args: Any, **options: Any) -> Any:
        wait()
        return reply(*args, **options)

    return reply_later


class Revoked:
    """What is revoked, bounded as Celery's own set of it is."""

    def __init__(self, keeper: Keeper):
        self._keeper = keeper
        self._said: dict[Revocation, float] = {}
        self._any_stamps = False
        self._is_read = False
        self._heard: Request | None = None
        self._lock = threading.Lock()

    def hear(self, told: list[Revocation]) -> None:
        """Take in what this worker is told, and have it kept."""
        now = time.time()
        self._take((revocation, now) for revocation in told)
        if told:
            self._heard = self._keeper.ask(Request(told))

    def wait_kept(self) -> None:
        """Wait until what was heard last is kept, for a while and once."""
        heard, self._heard = self._heard, None
        if heard is not None:
            heard.wait(WRITE_PATIENCE)

    def read(self) -> None:
        """Read what is kept, and wait for that for a while, but not again while the broker does not answer."""
        self._is_read = True
        self._keeper.ask(Request()).wait(READ_PATIENCE)
        self._take(self._keeper.take_found())
        young = time.time() - state.REVOKE_EXPIRES
        # The broker's older ones are looked up in here alone: Celery's set would forget them.
        job_endings.merge_revoked(
            [revocations.parts_of(what)[0] for what, when in self._said.items() if when > young and _is_job(what)]
        )

    def forget_reading(self) -> None:
        """Read again before the next job."""
        self._is_read = False

    def applies_to(self, request: Any) -> bool:
        """Say whether a job is revoked."""
        return self._applies(request.id, lambda: request.stamps, request.request_dict)

    def applies_to_headers(self, headers: Mapping[str, Any]) -> bool:
        """Say the same of a job that is no request yet."""
        stamps = headers.get("stamps") or {}
        told = {name: stamps.get(name) for name in headers.get("stamped_headers") or ()}
        return self._applies(headers.get("id"), lambda: told, headers)

    def _applies(self, job: Any, stamps: Callable[[], Mapping[str, Any]], headers: Mapping[str, Any]) -> bool:
        if not self._is_read:
            self.read()
        if self._keeper.found:
            self._take(self._keeper.take_found())
        if not self._said:
            return False
        when = max((self._said.get(what, 0.0) for what in self._names(job, stamps)), default=0.0)
        return bool(when) and not is_later(headers, when)

    def _names(self, job: Any, stamps: Callable[[], Mapping[str, Any]]) -> Iterator[Revocation]:
        yield revocations.revocation(job)
        if self._any_stamps:
            for header, values in stamps().items():
                yield from (revocations.revocation(header, value) for value in maybe_list(values) or ())

    def _take(self, said: Iterable[Said]) -> None:
        with self._lock:
            for what, when in said:
                self._said.pop(what, None)  # the newest are the last
                self._said[what] = when
                self._any_stamps |= not _is_job(what)
            while len(self._said) > state.REVOKES_MAX:
                del self._said[next(iter(self._said))]


def is_later(headers: Mapping[str, Any], when: float) -> bool:
    """Say whether a job was sent so long after the revocation of its id that Celery had forgotten that.

    An app may have ids of its own, and use one again the next day.
    """
    sent = headers.get(SENT)
    return isinstance(sent, float) and not headers.get("retries") and sent > when + state.REVOKE_EXPIRES


def unless_revoked(process: Callable[[Any], Any], revoked: Revoked) -> Callable[[Any], Any]:
    """Return what hands a request to the pool, with Celery told before of a revocation that it may not know."""

    def process_task(request: Any) -> Any:
        if revoked.applies_to(request):
            state.revoked.add(request.id)
        return process(request)

    return process_task


@dataclass(frozen=True)
class Keeping:
    """A command of remote control that has kept what it revokes."""

    command: Callable[..., Any]
    read: Callable[[Mapping[str, Any]], list[Revocation]]
    revoked: Revoked

    def __call__(self, panel: Any, **options: Any) -> Any:
        """Have it kept, and run the command meanwhile."""
        self.revoked.hear(self.read(options))
        return self.command(panel, **options)


COMMANDS: dict[str, Callable[[Mapping[str, Any]], list[Revocation]]] = {
    "revoke": lambda told: revocations.of_jobs(told.get("task_id")),
    "terminate": lambda told: revocations.of_jobs(told.get("task_id")),
    "revoke_by_stamped_headers": lambda told: revocations.of_stamps(told.get("headers") or {}),
}
"""The commands of remote control that revoke, and how to read what."""


def _is_job(revocation: Revocation) -> bool:
    return len(revocations.parts_of(revocation)) == 1
