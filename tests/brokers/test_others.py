"""Brokers do what docs/brokers.md says of them, those that the kit does not stand up included."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from celerykit.brokers.catalogue import Promise
from tests.brokers.kinds import BROKERS, EVERY, HIGH_FIRST, IGNORED, LOW_FIRST, MIXED, Kind, each
from tests.brokers.scene import LONGEST_JOB, assert_all_done
from tests.rig.process import refused
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.brokers.conftest import Seen
    from tests.brokers.scene import Broker
    from tests.rig.containers import Rig

JOBS = 12
"""So many that a broker without any order has hardly one by accident."""
REDELIVERING, FORGETFUL = (
    each(*(kind for kind in BROKERS if kind.promise is promise)) for promise in (Promise.REDELIVERS, Promise.GRACEFUL)
)


@REDELIVERING
def test_a_killed_workers_job_runs_again(on: Callable[[Kind], Broker], seen: Seen, kind: Kind) -> None:
    """At once, or where the broker goes by time, when the longest job could have ended, as the loader tells it."""
    broker = on(kind)
    replace_killed_worker(broker, 1)
    assert_all_done(broker.rig, LONGEST_JOB + 10 + 30)
    seen("worker killed", "runs again")


def replace_killed_worker(broker: Broker, jobs: int) -> None:
    """Kill a worker while the first of so many jobs runs, and start another."""
    worker = broker.worker()
    broker.submit(worker, jobs, 3.0)
    broker.rig.ledger.wait_running()
    worker.signal("SIGKILL")
    broker.worker()


@EVERY
def test_jobs_survive_a_stop(on: Callable[[Kind], Broker], seen: Seen, kind: Kind) -> None:
    """What runs ends, what waits is done by the next worker, and nothing runs twice."""
    broker = on(kind)
    worker = broker.worker()
    broker.submit(worker, 4, 2.0)
    broker.rig.ledger.wait_running()
    worker.stop()
    assert worker.wait_exit(60) == 0
    assert not broker.rig.ledger.account().running
    broker.worker()
    assert_all_done(broker.rig, 60)
    assert not broker.rig.ledger.account().started_twice
    seen("worker restarted", "all run, once")


@FORGETFUL
def test_a_broker_that_forgets_is_refused_for_at_least_once(on: Callable[[Kind], Broker], kind: Kind) -> None:
    """The worker does not start, and says which broker loses what, and what to take instead."""
    worker = on(kind).worker(ready=False, CELERYKIT_DELIVERY="UNSET")
    refused(worker, "it is lost when the worker dies", "CELERYKIT_DELIVERY=at-most-once")


@FORGETFUL
def test_a_broker_that_forgets_loses_the_job_of_a_killed_worker(
    on: Callable[[Kind], Broker], seen: Seen, kind: Kind
) -> None:
    """What it is refused for is so: if a release of Kombu ends it, the table is wrong."""
    broker = on(kind)
    replace_killed_worker(broker, 2)
    until(lambda: len(broker.rig.ledger.account().done) == 1, 60, "the end of the job that waited")
    assert len(broker.rig.ledger.account().lost) == 1
    seen("worker killed", "lost")


@each(*(kind for kind in BROKERS if kind.keeps))
def test_waiting_jobs_survive_a_kill_of_the_broker(on: Callable[[Kind], Broker], seen: Seen, kind: Kind) -> None:
    """What it has accepted is done when it is there again, by the same worker."""
    broker = on(kind)
    assert broker.server is not None
    worker = broker.worker(restart=True)  # as the stack has it
    broker.submit(worker, 4, 3.0)
    broker.rig.ledger.wait_running()
    broker.server.kill()
    broker.server.start()
    assert_all_done(broker.rig, 120)
    seen("broker killed", "kept")


@pytest.mark.slow
@EVERY
def test_priorities_are_what_the_page_says(on: Callable[[Kind], Broker], seen: Seen, kind: Kind) -> None:
    """Which of the waiting jobs is first, those sent with priority 0 or with 9, each sent in turn."""
    broker = on(kind)
    worker = broker.worker()
    broker.submit(worker, 1, 3.0)
    broker.rig.ledger.wait_running()
    worker.signal("SIGSTOP")
    broker.submit(worker, JOBS, 0.0, priorities=[0, 9], pause=0.02)
    worker.signal("SIGCONT")
    assert_all_done(broker.rig, 60)
    assert order(broker.rig) == kind.priorities
    seen("priorities", kind.priorities)


def order(rig: Rig) -> str:
    """Return in which order the last jobs of a ledger were started, of which every second has the high priority."""
    entries = rig.ledger.entries()
    sent = [entry.job for entry in entries if entry.kind == "accepted"][-JOBS:]
    started = [sent.index(entry.job) for entry in entries if entry.kind == "start" and entry.job in sent]
    low, high = list(range(0, JOBS, 2)), list(range(1, JOBS, 2))
    named = {IGNORED: sorted(started), LOW_FIRST: low + high, HIGH_FIRST: high + low}
    return next((name for name, numbers in named.items() if numbers == started), MIXED)


@pytest.mark.slow
@EVERY
def test_a_delayed_job_is_on_time(on: Callable[[Kind], Broker], seen: Seen, kind: Kind) -> None:
    """Not early, and done within seconds of its time."""
    broker = on(kind)
    worker = broker.worker()
    sent = time.time()
    broker.submit(worker, 1, 0.0, countdown=4)
    submitted = time.time()
    assert_all_done(broker.rig, 60)
    (job,) = broker.rig.ledger.account().done
    assert sent + 4 <= (broker.rig.ledger.first("start", job) or 0.0) < submitted + 4 + 15
    seen("delays", "on time")


@pytest.mark.slow
@EVERY
def test_remote_control_is_what_the_page_says(on: Callable[[Kind], Broker], seen: Seen, kind: Kind) -> None:
    """Whether `celery inspect ping` has an answer; where it has none, the kit's own probe has."""
    worker = on(kind).worker()
    answered = worker.container.exec_run(["celery", "-A", "others", "inspect", "ping", "--timeout", "5"])
    assert (b"pong" in answered.output) == kind.remote_control, answered.output
    assert worker.probe("ready") and worker.probe("live")
    seen("remote control", "yes" if kind.remote_control else "no")
