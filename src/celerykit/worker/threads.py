"""Celery's pool of threads, able to change its size while jobs run."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from celery.concurrency import thread

if TYPE_CHECKING:
    from collections.abc import Callable


class Threads(Executor):
    """An executor whose number of threads can be changed; Python's own is as large as it was made.

    A thread is started when a job finds none idle. When there are too many, those that are idle end at once, the others
    after their job.
    """

    def __init__(self, size: int):
        """:param size: how many jobs may run at once."""
        self._size = size
        self._closed = False
        self._idle = 0
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads: set[threading.Thread] = set()  # by the name that Celery's pool counts them by
        self._changed = threading.Condition()
        # Idle ones must not keep a process from ending that never stopped its pool; running jobs are waited for.
        atexit.register(self.shutdown, cancel_futures=True)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a function called by a thread, now or when one is free.

        :raises RuntimeError: after the shutdown.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("the pool of threads has been shut down")
            future: Future[Any] = Future()
            self._jobs.append((future, lambda: fn(*args, **kwargs)))
            self._serve()
        return future

    def resize(self, size: int) -> None:
        """Let so many jobs run at once from now on; those that run beyond it run to their end."""
        with self._changed:
            self._size = size
            self._serve()
            self._changed.notify_all()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs; see :meth:`concurrent.futures.Executor.shutdown`."""
        atexit.unregister(self.shutdown)
        with self._changed:
            self._closed = True
            if cancel_futures:
                for future, _ in self._jobs:
                    future.cancel()
                self._jobs.clear()
            self._changed.notify_all()
            threads = [*self._threads] if wait else []
        for running in threads:
            running.join()

    def _serve(self) -> None:
        """Wake or start a thread for each waiting job, as far as there may be threads."""
        self._changed.notify(len(self._jobs))
        for _ in range(min(len(self._jobs) - self._idle, self._size - len(self._threads))):
            started = threading.Thread(target=self._run, name="celerykit-job", daemon=True)
            self._threads.add(started)
            started.start()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            future, call = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as exc:  # whatever a job raises is its result, not this thread's end
                    future.set_exception(exc)
            del job, future, call  # an idle thread must not keep alive what the last job had

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """Wait for a job; None if this thread is to end."""
        with self._changed:
            while len(self._threads) <= self._size:
                if self._jobs:
                    return self._jobs.popleft()
                if self._closed:
                    break
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            self._threads.discard(threading.current_thread())
            return None


class TaskPool(thread.TaskPool):  # type: ignore[misc]
    """The pool of a worker that was started by the kit with ``-P threads``."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.executor = Threads(self.limit)  # the one that Celery made has no thread yet

    def grow(self, n: int = 1) -> None:
        """Let ``n`` jobs more run at once."""
        self._resize(self.limit + n)

    def shrink(self, n: int = 1) -> None:
        """Let ``n`` jobs less run at once, at least one; what runs is not interrupted."""
        self._resize(max(1, self.limit - n))

    def _resize(self, size: int) -> None:
        self.limit = size
        self.executor.resize(size)
