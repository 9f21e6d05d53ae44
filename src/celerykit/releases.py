"""What differs between the releases of Celery, Kombu and redis-py that the kit runs on, and what it does about that.

Each difference has a name here, and the rest of the code asks by it: nothing else knows a release's number.
"""

from __future__ import annotations

import logging
import os
import re
import select
import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from queue import Empty
from typing import TYPE_CHECKING, Any

from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

Version = tuple[int, ...]


@dataclass(frozen=True)
class Range:
    """The releases of a package that the kit has been tried with."""

    oldest: Version
    next: Version
    """The first release that nobody has tried."""

    def __str__(self) -> str:
        return f"{_told(self.oldest)} or later, before {_told(self.next)}"


@dataclass(frozen=True)
class Difference:
    """What a package lacks before some release."""

    package: str
    since: Version
    lacks: str
    """What is not there before, for people."""
    instead: str
    """What the kit does about it."""
    shows: bool = False
    """Whether it can be noticed in spite of that."""


RANGES = {"celery": Range((5, 5), (5, 8)), "kombu": Range((5, 5), (5, 8)), "redis": Range((5, 2), (9,))}
"""Which releases the kit is for; redis-py matters where Redis is the broker."""
REFUSED_BY_KOMBU = ((5, 7), (6, 1))
"""The release of Kombu from which on it refuses an older redis-py than the second one."""
DIFFERENCES = {
    "pgmq": Difference(
        "kombu",
        (5, 7),
        "PGMQ as a broker",
        "`pgmq://` is refused at the start",
        shows=True,
    ),
    "auto": Difference(
        "celery",
        (5, 7),
        "`auto` as a concurrency",
        "the kit counts the CPUs, as 5.7 does, and gives their number",
    ),
    "stored success": Difference(
        "celery",
        (5, 7),
        "the look whether a job had succeeded when its pool child died",
        "such a job runs once more",
        shows=True,
    ),
    "acks at once": Difference(
        "celery",
        (5, 7),
        "acknowledgements that wait for no turn of the event loop",
        "the kit acknowledges at once on Redis, and wakes the loop elsewhere",
    ),
    "timers": Difference(
        "celery",
        (5, 7),
        "timers, those of time limits among them, that outlast a lost connection",
        "the kit keeps them",
    ),
    "closed connections": Difference(
        "celery",
        (5, 7),
        "the end of a connection that has broken",
        "the kit closes it, within a bound",
    ),
    "settings by any name": Difference(
        "celery",
        (5, 7),
        "an answer whether an app has a setting, whatever style it is written in",
        "the kit looks for old and namespaced names, too",
    ),
    "exclusive control queues": Difference(
        "celery",
        (5, 7),
        "queues of commands and events that RabbitMQ 4.3 takes, by default",
        "the kit's defaults make them exclusive, on 5.6; on 5.5 RabbitMQ 4.3 has to permit `transient_nonexcl_queues`",
    ),
    "acks by ending": Difference(
        "celery",
        (5, 7),
        "`task_acks_on_failure` and `task_acks_on_timeout`",
        "`task_acks_on_failure_or_timeout` is for both",
        shows=True,
    ),
    "claims of chords": Difference(
        "celery",
        (5, 7),
        "chords on Redis whose parts may return twice",
        "a part waits until the broker takes the chord's body, however long that takes",
        shows=True,
    ),
    "one retry for all": Difference(
        "celery",
        (5, 7),
        "retries of whatever is asked of a result backend",
        "the kit waits where a result is stored or read",
    ),
    "scheduled requests": Difference(
        "celery",
        (5, 7),
        "a list of the jobs that wait in a worker for their ETA",
        "at the end of a stop they go back with the connection",
    ),
    "time limits of tasks": Difference(
        "celery",
        (5, 7),
        "tasks that know their app's time limit",
        "the kit looks it up",
    ),
    "pools that remember": Difference(
        "celery",
        (5, 7),
        "a prefork pool that knows which children work when the connection has broken",
        "the kit tells it, so that no job waits behind another",
    ),
    "known prefetch": Difference(
        "celery",
        (5, 7),
        "word of a prefetch that a consumer keeps as it began",
        "the kit asks Celery's own step",
    ),
    "merged revocations": Difference(
        "celery",
        (5, 7),
        "a way of its own for what was revoked elsewhere",
        "the kit adds it to what is revoked",
    ),
    "links told apart": Difference(
        "celery",
        (5, 7),
        "a step of its own for what a job leads to",
        "the kit knows a link, a chain and a group by who sends them",
    ),
    "steady polling": Difference(
        "kombu",
        (5, 7),
        "an event loop that goes on to ask Redis for jobs when one of its connections has broken",
        "the kit's transport goes on",
    ),
    "restore interval": Difference(
        "kombu",
        (5, 7),
        "`unacked_restore_interval`",
        "the kit's transport looks for jobs of dead stock workers by a timer of its own",
    ),
    "queue types": Difference(
        "celery",
        (5, 6),
        "`task_create_missing_queue_type`",
        "the kit's queues are quorum queues all the same",
    ),
    "retry hook": Difference(
        "celery",
        (5, 6),
        "word of each attempt to reach the result backend",
        "each pause between two is the sign of life",
    ),
    "eta limit": Difference(
        "celery",
        (5, 6),
        "`worker_eta_task_limit`",
        "jobs that are not due wait on the broker, as on each release; those that it does not take back have no limit",
        shows=True,
    ),
}


ON_INNER_PARTS = (
    "celerykit.worker.timers:Timers",
    "celerykit.worker.publishing:Publishing",
    "celerykit.worker.records:Records",
    "celerykit.worker.adapting:Adapting",
    "celerykit.worker.termination:Answers",
    "celerykit.worker.waiting:Scheduled",
)
"""Steps of a worker without which no job is lost."""


# Which releases there are, and whether they will do.


@cache
def version_of(package: str) -> Version:
    """Return a package's release, nothing if it is not installed or does not say."""
    return parsed(_installed(package))


def parsed(version: str) -> Version:
    """Return a release as numbers that compare."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def lacks(difference: str) -> bool:
    """Say whether the installed releases lack something of :data:`DIFFERENCES`."""
    told = DIFFERENCES[difference]
    return () < version_of(told.package) < told.since


def is_unknown(package: str) -> bool:
    """Say whether a package is newer than what the kit was tried with: its inner parts may be others."""
    return version_of(package) >= RANGES[package].next


def refusals() -> list[Finding]:
    """Return what is too old to run on: Celery, whose requirement brings Kombu with it, or Kombu."""
    if find_spec("celery") is None:
        return [_finding("celery", "it cannot be imported", remedy("celery"))]
    old = [name for name in ("celery", "kombu") if () < version_of(name) < RANGES[name].oldest][:1]
    return [_finding(name, f"celerykit needs {RANGES[name]}", remedy(name)) for name in old]


def warnings() -> list[Finding]:
    """Return what is newer than anything that was tried."""
    problem = "celerykit was not tried with it, and leaves out what rests on its inner parts"
    found = [_finding(name, problem, remedy(name)) for name in ("celery", "kombu") if is_unknown(name)]
    return [*found, *([_finding("redis", "celerykit was not tried with it", remedy("redis"))] * is_unknown("redis"))]


def require() -> list[Finding]:
    """Check what is installed, and return what is only to be warned of.

    :raises ConfigurationError: if it is too old.
    """
    if refused := refusals():
        raise ConfigurationError(*refused)
    return warnings()


def is_refused_by_kombu(redis: Version, kombu: Version) -> bool:
    """Say whether this Kombu does not take this redis-py for a broker on Redis."""
    since, needed = REFUSED_BY_KOMBU
    return () < redis < needed and kombu >= since


def redis_refusals() -> Iterator[Finding]:
    """Yield why the installed redis-py will not do for a broker on Redis."""
    there, (since, needed) = version_of("redis"), REFUSED_BY_KOMBU
    if not there:
        return
    if there < RANGES["redis"].oldest:
        yield _finding("redis", f"celerykit needs {RANGES['redis']}", remedy("redis"))
    elif is_refused_by_kombu(there, version_of("kombu")):
        problem = f"kombu {_installed('kombu')} refuses it, and needs {_told(needed)} or later"
        older = f", or kombu<{_told(since)} beside it" if version_of("celery") < (5, 7) else ""
        yield _finding("redis", problem, f"Require redis>={_told(needed)}{older}")


def told(package: str) -> str:
    """Return a package's name and release, for people."""
    return f"{package} {_installed(package)}"


def left_out() -> tuple[str, ...]:
    """Return the steps of a worker that are left out, for they rest on inner parts that nobody has seen."""
    return ON_INNER_PARTS if is_unknown("celery") else ()


def shortcomings() -> str:
    """Return what the installed releases lack that whoever sends or runs jobs can notice, nothing if that is nothing.

    In one line, for a worker's log.
    """
    missing = [
        difference.lacks.replace("`", "")
        for name, difference in DIFFERENCES.items()
        if difference.shows and lacks(name)
    ]
    return f"{told('celery')} with {told('kombu')} lacks {', '.join(missing)}" if missing else ""


def _finding(package: str, problem: str, remedy: str) -> Finding:
    return Finding(package, _installed(package), f"installed in {sys.prefix}", problem, remedy)


def remedy(package: str) -> str:
    """Return what to do about a release that will not do."""
    told = RANGES[package]
    return f"Have the app's requirements say {package}>={_told(told.oldest)},<{_told(told.next)}"


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _told(version: Version) -> str:
    return ".".join(map(str, version))


# The machine.


def cpu_count() -> int:
    """Return the number of CPUs that this process may run on."""
    if lacks("auto"):
        return len(os.sched_getaffinity(0)) or 1
    from celery.utils.sysinfo import available_cpu_count

    return int(available_cpu_count())


# An app's settings.


def defaults() -> dict[str, Any]:
    """Return the settings that a newer release has by default, with its values, for any broker."""
    if lacks("exclusive control queues") and not lacks("queue types"):
        return {"control_queue_exclusive": True, "event_queue_exclusive": True}
    return {}


def is_set(conf: Any, name: str) -> bool:
    """Say whether somebody has set something, whatever style it is written in.

    :param conf: an app's configuration.
    """
    if not lacks("settings by any name"):
        return bool(conf.value_set_for(name))
    from celery.app.utils import Settings

    conf.finalize()
    own = Settings({}, conf.maps[:-1], conf._keys, conf.prefix)
    return any(key in own for key in (name, *(convert(name) for convert in conf._keys)))


def by_old_names(conf: Any) -> dict[str, Any]:
    """Return what an app has set by the upper-case names of old, by the names of today.

    An older Celery looks for the old name last, and so finds the kit's default first.
    """
    if not lacks("settings by any name"):
        return {}
    from celery.app.defaults import _TO_OLD_KEY

    own = conf.maps[:-1]
    found: dict[str, Any] = {}
    for name, old in _TO_OLD_KEY.items():
        if old != name and not any(name in told for told in own):
            values = [told[old] for told in own if old in told]
            found.update(zip([name], values, strict=False))  # the first, if there is one
    return found


def keys(conf: Any, name: str) -> tuple[str, ...]:
    """Return the names by which a value of the kit's wins over one that the app has given.

    An older Celery looks for an app's namespaced name first, in all that there is.
    """
    return tuple(conf._to_keys(name)) if lacks("settings by any name") else (name,)


def acks(task: Any, ending: str) -> bool:
    """Say whether a job with late acknowledgement is acknowledged at an ending without success.

    :param ending: ``failure`` or ``timeout``.
    """
    name = "acks_on_failure_or_timeout" if lacks("acks by ending") else f"acks_on_{ending}"
    return getattr(task, name) is not False


def time_limit(task: Any) -> float | None:
    """Return a task's hard time limit in seconds, its app's if it has none of its own."""
    limit: float | None = task.time_limit
    return limit or (task.app.conf.task_time_limit if lacks("time limits of tasks") else limit)


# A job's end.


def success_was_stored(request: Any) -> bool:
    """Say whether a job had succeeded when its pool child died; where nobody can know, it had not."""
    return False if lacks("stored success") else bool(request._success_was_stored())


def worker_lost(exc: BaseException) -> Any:
    """Return the end of a job that ended its process by ``SystemExit`` or ``KeyboardInterrupt``."""
    from billiard.common import human_status
    from billiard.einfo import ExceptionInfo
    from billiard.exceptions import WorkerLostError

    status = type(exc).__name__
    if isinstance(exc, SystemExit):
        status = human_status(exc.code if isinstance(exc.code, int) else int(exc.code is not None))
    try:
        raise WorkerLostError(f"Worker exited prematurely: {status}.")
    except WorkerLostError:
        return ExceptionInfo()


def scheduled() -> tuple[Any, ...]:
    """Return the requests of jobs that wait in the worker for their ETA; where nobody keeps them, they end unasked."""
    if lacks("scheduled requests"):
        return ()
    from celery.worker import state

    return tuple(state.scheduled_requests)


def keeps_prefetch(consumer: Any) -> bool:
    """Say whether the broker keeps the prefetch with which a consumer has begun.

    :param consumer: Celery's consumer, connected.
    """
    if not lacks("known prefetch"):
        return consumer.qos_global is False
    from celery.worker.consumer.tasks import Tasks

    return not next(step for step in consumer.steps if isinstance(step, Tasks)).qos_global(consumer)


def merge_revoked(ids: list[str]) -> None:
    """Have Celery know ids that were revoked elsewhere."""
    from celery.worker import state

    if lacks("merged revocations"):
        state.revoked.update(ids)
    else:
        state.merge_revoked(ids)


def methods_that_retry() -> tuple[str, ...]:
    """Return the methods of a result backend that try something again; an older one has a loop in each."""
    return ("store_result", "get_task_meta") if lacks("one retry for all") else ("_ensure_retryable",)


def retried(backend: Any, do: Callable[..., Any], *args: Any) -> Any:
    """Have a result backend do something, by its own retries where it has them for that."""
    return do(*args) if lacks("one retry for all") else backend._ensure_retryable(do, *args)


def is_link_of_old() -> bool:
    """Say whether Celery is about to send what a job leads to, whose success it has not stored yet.

    A newer one does so by a step that can be seen.
    """
    if not lacks("links told apart"):
        return False
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "trace_task" and frame.f_globals.get("__name__") == "celery.app.trace":
            # The time that it took is known as soon as its result is stored; its own hooks come after that.
            told = frame.f_locals
            return bool(told.get("state") == "SUCCESS" and told.get("T") is None)
        frame = frame.f_back
    return False


def retry_hook(backend: Any) -> Callable[[Exception], None]:
    """Return what a result backend does before it tries again, nothing where it has no such thing."""
    hook: Callable[[Exception], None] = getattr(backend, "on_backend_retryable_error", _do_nothing)
    return hook


def _do_nothing(_: Any) -> None:
    """Do what an older release does."""


# A connection's end.


def bound_sockets(connection: Any, seconds: float) -> None:
    """Bound each read on the open sockets of a broker's connection, as far as that is possible.

    :param connection: a :class:`kombu.Connection`.
    """
    if not lacks("closed connections"):
        from celery.utils.threads import bound_open_broker_sockets

        bound_open_broker_sockets(connection, seconds)
        return
    with suppress(Exception):  # whatever state it is in, it is about to be dropped
        for sock in _sockets(connection):
            sock.settimeout(seconds)


def _sockets(connection: Any) -> Iterator[Any]:
    for channel in list(getattr(connection.transport, "channels", None) or ()):
        for name in ("client", "subclient"):  # cached, or asking would connect
            client = vars(channel).get(name)
            if (sock := getattr(getattr(client, "connection", None), "_sock", None)) is not None:
                yield sock
    sock = getattr(getattr(connection._connection, "_transport", None), "sock", None)
    if sock is not None:
        yield sock


class Timers:
    """The entries of a worker's timer that are of its connection to the broker: they end with it, and no others.

    :param consumer: Celery's consumer.
    """

    def __init__(self, consumer: Any):
        self._consumer = consumer
        self._before: set[Any] = set()
        self._registered: set[Any] | None = None
        if lacks("timers") and consumer.timer is not None:
            consumer.timer.clear = self._end

    def connecting(self) -> None:
        """Begin: what is entered from now on is of the connection."""
        if lacks("timers"):
            self._before, self._registered = self._entries(), None

    def connected(self) -> None:
        """End: what is entered from now on is of whatever runs."""
        if lacks("timers"):
            self._registered = self._entries() - self._before

    def _end(self) -> None:
        """Do what Celery's own way, to clear the timer, was for."""
        due = self._registered if self._registered is not None else self._entries() - self._before
        queue = getattr(self._consumer.timer, "schedule", self._consumer.timer)._queue
        for item in list(queue):
            # A job that waits for its ETA is delivered again.
            if item.entry not in due and item.entry.fun != self._consumer.apply_eta_task:
                continue
            if hasattr(item, "kill"):  # a greenlet's
                queue.discard(item)
                item.kill()
            else:
                item.entry.cancel()

    def _entries(self) -> set[Any]:
        return {item.entry for item in list(self._consumer.timer.queue)}


def about_to_close(consumer: Any, seconds: float) -> None:
    """Bound what is read from the consumer's broken connection while it is closed; a newer Celery does so itself."""
    if lacks("closed connections") and consumer.connection is not None:
        bound_sockets(consumer.connection, seconds)


def close(consumer: Any) -> None:
    """Close the consumer's connection, which has broken; a newer Celery has done so."""
    if not lacks("closed connections"):
        return
    if consumer.connection is not None:
        with suppress(Exception):  # it is broken
            consumer.connection.close()


@contextmanager
def kept(pool: Any) -> Iterator[None]:
    """Have what runs in a prefork pool known to it still, when Celery forgets what does not.

    :param pool: Celery's prefork pool, if it is one for an event loop.
    """
    if not lacks("pools that remember") or not hasattr(pool, "_busy_workers"):
        yield
        return
    running = {number: job for number, job in pool._cache.items() if job._accepted and not job.ready()}
    busy = set(pool._busy_workers)
    yield
    for number, job in running.items():
        pool._cache.setdefault(number, job)
        child = job._write_to or job._scheduled_for
        if child is not None and child._is_alive() and child.inqW_fd in busy:
            pool._busy_workers.add(child.inqW_fd)


class Waker:
    """Ends the wait of an event loop that does not notice what another thread puts into it."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def watch(self, hub: Any) -> None:
        """Be heard by a loop, which forgets its readers with each connection."""
        hub.add_reader(self._reader.fileno(), self._drain)

    def wake(self) -> None:
        """End the wait, from any thread but the loop's own."""
        if threading.get_ident() != self._thread:
            with suppress(OSError):
                self._writer.send(b"!")

    def _drain(self) -> None:
        with suppress(OSError):
            self._reader.recv(4096)


# Kombu's transport for Redis.


def connection_of(pool: Any) -> Any:
    """Return a connection of a pool of redis-py."""
    return pool.get_connection("_") if version_of("redis") < (5, 3) else pool.get_connection()


def restore_interval(channel: Any) -> float:
    """Return the seconds between two looks for jobs of dead stock workers."""
    told = channel.connection.client.transport_options.get("unacked_restore_interval")
    return float(told or getattr(channel, "unacked_restore_interval", 10))


class OlderPoller:
    """What Kombu's poller lacks in an older release, to stand before it."""

    _channels: Any
    _fd_to_chan: Any
    _in_protected_read: bool
    after_read: Any
    poller: Any
    on_poll_start: Any
    maybe_restore_messages: Any

    def _unregister_from_poll(self, fileno: int) -> None:
        self.poller.unregister(fileno)

    def _on_connection_disconnect(self, connection: Any) -> None:
        with suppress(ValueError):
            super()._on_connection_disconnect(connection)  # type: ignore[misc]

    def on_readable(self, fileno: int) -> Any:
        """Let a channel read, if it is there still."""
        return super().on_readable(fileno) if fileno in self._fd_to_chan else None  # type: ignore[misc]

    def handle_event(self, fileno: int, event: int) -> Any:
        """Let a channel read, if it is there still."""
        return super().handle_event(fileno, event) if fileno in self._fd_to_chan else None  # type: ignore[misc]

    def maybe_check_brpop_health(self) -> None:
        """Drop connections by which an answer should have come by now: they may be open on this side alone."""
        for channel in tuple(self._channels):
            _drop_if_overdue(channel)

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Wait for one message, having asked for some as an event loop would.

        :raises queue.Empty: if none has come.
        """
        self._in_protected_read = True
        try:
            self.on_poll_start()
            self._read(timeout)
        finally:
            self._in_protected_read = False
            while self.after_read:
                self.after_read.pop()()

    def _read(self, timeout: float | None) -> None:
        events = self.poller.poll(timeout)
        if any(self.handle_event(fileno, event) for fileno, event in events or ()):
            return
        if not events:
            self.maybe_check_brpop_health()
        self.maybe_restore_messages()
        raise Empty


def poller(base: type) -> Any:
    """Return Kombu's poller with whatever it lacks."""
    return type(base.__name__, (OlderPoller, base), {}) if lacks("steady polling") else base


def _drop_if_overdue(channel: Any) -> None:
    connection, sent_at = channel._in_poll, getattr(channel, "_brpop_sent_at", None)
    if not connection or sent_at is None or not channel.health_check_interval:
        return
    patience = getattr(channel, "brpop_timeout", 1) + channel.health_check_interval
    sock = connection._sock
    if sock is None or time.monotonic() - sent_at < patience or select.select([sock], [], [], 0)[0]:
        return
    logger.warning("Redis has not answered for %g s: dropping the connection", patience)
    connection.disconnect()


def keep_polling(cycle: Any, connection: Any, loop: Any) -> None:
    """Have an event loop go on to ask for jobs, and look after connections, as a newer Kombu does.

    :param cycle: the poller that the transport has just registered.
    :param connection: the transport's.
    """
    if not lacks("steady polling"):
        return
    cycle._unregister_from_poll = loop.remove_reader

    def on_disconnect(gone: Any) -> None:
        of_it = {
            (channel, kind): (channel, client, kind)
            for channel, client, kind in cycle._chan_to_sock
            if client.connection is gone
        }
        for key in of_it.values():
            del cycle._chan_to_sock[key]
        for fd, known in list(cycle._fd_to_chan.items()):
            if known in of_it:
                loop.remove(fd)
                del cycle._fd_to_chan[fd]

    cycle._on_connection_disconnect = on_disconnect
    options = connection.client.transport_options
    loop.call_repeatedly(options.get("unacked_restore_interval") or 10, cycle.maybe_restore_messages)
    loop.call_repeatedly(options.get("health_check_interval") or 25, cycle.maybe_check_brpop_health)


# RabbitMQ.


def typed(queues: Any, conf: Any) -> Any:
    """Return a class of queues that knows the type of those of which only the name is told.

    :param queues: a subclass of Celery's ``Queues``.
    :param conf: the app's configuration.
    """
    if not lacks("queue types"):
        return queues
    return type(queues.__name__, (queues,), {"create_missing_queue_type": conf.get("task_create_missing_queue_type")})
