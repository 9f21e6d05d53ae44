"""The bounded stop: drain, and at the budget's end give back what still runs.

Celery's own soft shutdown sleeps its whole time even when nothing runs, loses the running job of the solo pool and
fails under gevent; its warm shutdown has no end. This one ends with the last running job, and at the latest in time.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import billiard.pool
from celery import bootsteps, signals
from celery.platforms import EX_OK
from celery.worker import state

from celerykit.compat import job_endings, worker_loop
from celerykit.config import settings
from celerykit.health.sd_notify import notify
from celerykit.health.voice import say
from celerykit.worker import returns

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

MARGIN = 10.0
"""Seconds beyond the budget after which systemd may kill."""
BROKER_PATIENCE = 2.0
"""Seconds that a silent broker may hold up the giving back of jobs, each time it is asked."""


class Stop(bootsteps.StartStopStep):  # type: ignore[misc]
    """Replaces the handlers of TERM, INT and QUIT that Celery has installed by now.

    They do what Celery documents: TERM drains, and a second one changes nothing; so does INT, whose second one is a
    QUIT; QUIT gives running jobs back, after ``worker_soft_shutdown_timeout`` if the app has one, and the next at once.
    """

    requires = ("celerykit.worker.liveness:Vitals",)

    def __init__(self, worker: Any, **options: Any):
        super().__init__(worker, **options)
        self._settings = settings.from_environment(os.environ)
        self._soft = float(worker.app.conf.worker_soft_shutdown_timeout or 0.0)
        self._began = self._interrupted = self._softly = False
        self._over = ""
        # Before the pool forks.
        signals.worker_process_shutdown.connect(_leave_at_once, weak=False, dispatch_uid="celerykit")

    def start(self, worker: Any) -> None:
        """Take over the signals."""
        self._worker = worker
        remapped = os.environ.get(settings.REMAPPED) == "SIGQUIT"
        signal.signal(signal.SIGTERM, self._on_quit if remapped else self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGQUIT, self._on_quit)

    def stop(self, worker: Any) -> None:
        """Bound a stop that came by remote control, too."""
        self._begin("shutdown", "Warm")

    def terminate(self, worker: Any) -> None:
        """Celery ends by itself."""

    def _on_stop(self, signum: int, _frame: Any) -> None:
        if signum == signal.SIGINT:
            if self._interrupted:
                self._on_quit(signum, None)
                return
            self._interrupted = True
        self._begin(signal.Signals(signum).name, "Warm")
        state.should_stop = EX_OK

    def _on_quit(self, signum: int, _frame: Any) -> None:
        name = signal.Signals(signum).name
        if not self._over and self._soft and not self._softly and state.active_requests:
            self._softly = True
            self._begin(name, "Cold", self._soft, f"worker_soft_shutdown_timeout of {self._soft:g} s is over")
            state.should_stop = EX_OK
            return
        cause = self._over or f"{name} ends running jobs"
        if self._worker.pool.is_green:
            # The handler may run in the hub of gevent, where nothing can wait for a socket.
            self._worker.timer.call_after(0, self._give_back, (cause,))
        else:
            self._give_back(cause)

    def _begin(self, cause: str, how: str, seconds: float = math.inf, over: str = "") -> None:
        """Drain from now on; a second time only sooner.

        :param how: as Celery calls it: ``Warm``, or ``Cold``.
        :param seconds: how long at most, within the stop budget.
        :param over: what to say when they are over.
        """
        if self._began and not over:
            return
        drain = self._settings.drain
        if seconds >= drain:
            seconds, over = drain, f"the stop budget of {self._settings.stop_timeout:g} s is used up"
        say(f"{cause}: draining {len(state.active_requests)} running jobs for up to {seconds:g} s")
        if not self._began:
            # systemd's own limit of a stop is fixed in the unit, while the budget is a setting.
            notify("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((self._settings.stop_timeout + MARGIN) * 1_000_000)}")
            self._worker.pulse.hold((drain + self._settings.stop_timeout) / 2)
            self._worker.pulse.not_ready("stopping")
        self._began = True
        signals.worker_shutting_down.send(sender=self._worker.hostname, sig=cause, how=how, exitcode=EX_OK)
        if self._worker.pool.is_green:
            self._worker.timer.call_after(seconds, self._give_back, (over,))
        else:
            threading.Thread(target=self._see_to_the_end, args=[seconds, over], daemon=True).start()

    def _see_to_the_end(self, seconds: float, over: str) -> None:
        if self._worker.hub is not None:
            # A signal does not end the wait of an idle loop, and its handler must not wait for the loop's lock.
            self._worker.hub.call_soon(lambda: None)
        time.sleep(seconds)
        self._over = over
        # Only the main thread can be sure that nothing else uses the broker's connection meanwhile.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGQUIT)

    def _give_back(self, cause: str) -> None:
        """End what runs, put every unacknowledged job back into its queue, and end the process."""
        worker = self._worker
        _kill_children(worker.pool)
        # A broadcast has no queue to go back to.
        held = [message for message in _unacknowledged() if not returns.is_broadcast(message)]
        returned = sum(1 for message in held if _requeue(message, worker.consumer))
        _close(worker.consumer)
        if worker._persistence is not None:
            worker._persistence.save()
        say(f"{cause}: gave back {returned} jobs")
        worker.pulse.stop()
        logging.shutdown()
        os._exit(EX_OK)


def _leave_at_once(exitcode: int, **_: Any) -> None:
    """In a pool child that was told to leave, and whose results have been read: spare its last second, a mere sleep."""
    if exitcode == EX_OK:
        billiard.pool.time = SimpleNamespace(sleep=lambda _seconds: None)


def _kill_children(pool: Any) -> None:
    """Kill the prefork children first, so that no job runs on while somebody else gets it."""
    children = [child.pid for child in getattr(getattr(pool, "_pool", None), "_pool", ()) if hasattr(child, "pid")]
    for pid in children:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    give_up = time.monotonic() + BROKER_PATIENCE
    while time.monotonic() < give_up and any(_is_running(pid) for pid in children):
        time.sleep(0.01)


def _is_running(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _unacknowledged() -> Iterator[Any]:
    seen = set()
    for request in (
        *state.requests.values(),
        *state.active_requests,
        *state.reserved_requests,
        *job_endings.scheduled(),
    ):
        if request.id not in seen and not request.acknowledged and not request.message.acknowledged:
            seen.add(request.id)
            yield request.message


def _requeue(message: Any, consumer: Any) -> bool:
    """Put one message back; one that cannot be put back is the broker's to redeliver."""
    try:
        message.requeue()
    except Exception as exc:  # whatever the transport raises, the others must still be tried
        say(f"job {message.headers.get('id')} could not be given back, the broker will redeliver it: {exc!r}")
        return False
    return True


def _close(consumer: Any) -> None:
    """Close the connection: whatever else it holds, such as rate-limited jobs, goes back with it."""
    connection = consumer.connection
    if connection is None:
        return
    worker_loop.bound_sockets(connection, BROKER_PATIENCE)
    try:
        connection.close()
    except Exception as exc:  # the process ends here, whatever the transport raises
        say(f"closing the broker connection failed: {exc!r}")
