"""PostgreSQL as the kit sets it up: results and PGMQ through outages, who may do what, what is said of mistakes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from celery import Celery

import celerykit
from celerykit.checks import connectivity
from tests.brokers.scene import read_only
from tests.rig.containers import CELERY_IMAGE, POSTGRESQL_IMAGE
from tests.rig.waiting import meanwhile, until

if TYPE_CHECKING:
    from tests.rig.containers import Rig
    from tests.rig.process import Process

LONG = 600
"""Seconds of a longest job: what has happened before it is over was not for want of waiting."""
LEASE = 15
"""Seconds for which a worker has a job without renewing it: what follows from a longest job of 5 s."""
ON_DJANGO = Path(__file__).with_name("on_django")
STOCK = '{"init_extension": false}'


def send_late(worker: Process, seconds: float) -> None:
    """Send a job with a delay as a producer without the kit does: a worker gets it, and gives it back until then."""
    worker.sh(f"python -m celerykit_submit 1 0.1 '{{\"countdown\": {seconds}}}'")


def long_worker(rig: Rig, **options: Any) -> Process:
    """Start a worker that no visibility timeout helps."""
    return rig.worker(CELERYKIT_LONGEST_JOB=LONG, BROKER_OPTIONS=STOCK, **options)


def queues(rig: Rig) -> set[str]:
    """Return the names of all queues there are."""
    return {name for (name,) in rig.client.sql("SELECT queue_name FROM pgmq.meta")}


def test_a_stop_gives_back_what_a_worker_holds(rig: Rig) -> None:
    """What runs beyond the budget or waits for a slot is the next worker's at once; what waits for its time, then."""
    rig.pgmq()
    worker = long_worker(rig, CELERYKIT_STOP_TIMEOUT=8, CELERY_WORKER_PREFETCH_MULTIPLIER=4)
    send_late(worker, 30)
    until(lambda: rig.client.unacknowledged() == 1, 60, "a job in the worker")
    rig.client.work(4, 9.0)
    rig.ledger.wait_running(2)
    # One waits in PostgreSQL by now, two run, and the worker fetches no more than one that waits for a slot.
    until(lambda: rig.client.unacknowledged() >= 4, 60, "jobs in the worker")
    assert worker.stop(seconds=20) < 12
    assert worker.state["ExitCode"] == 0
    assert (rig.client.queued(), rig.client.unacknowledged()) == (4, 1)
    long_worker(rig, CELERY_WORKER_CONCURRENCY=4)
    rig.assert_nothing_lost(60, twice=4)


@pytest.mark.slow
def test_a_job_of_a_worker_that_lives_is_its_own(rig: Rig) -> None:
    """However long it lasts, or waits for its time, through an outage; a killed worker's job is soon another's."""
    server = rig.pgmq()
    told = {"CELERYKIT_STUCK_AFTER": 18, "CELERYKIT_LONGEST_JOB": LEASE - 10}
    worker = rig.worker(BROKER_OPTIONS=STOCK, **told)
    send_late(worker, 2 * LEASE)
    rig.client.work(2, 1.8 * LEASE)
    rig.ledger.wait_running(2)
    rig.worker(CELERY_WORKER_CONCURRENCY=3, **told)
    server.kill(5)
    server.start()
    rig.assert_nothing_lost(120)
    rig.client.work(4, 4.0)
    rig.ledger.wait_running(4)
    worker.signal("SIGKILL")
    rig.assert_nothing_lost(LEASE + 30, twice=2)


def test_a_delayed_job_is_kept_by_the_server(rig: Rig) -> None:
    """No worker fetches it before it is due: its visibility timeout could be over by then, and it would run twice."""
    rig.pgmq()
    rig.client.work(1, 0.1)
    rig.client.work(1, 0.1, countdown=60)
    assert (rig.client.queued(), rig.client.unacknowledged()) == (1, 1)


def test_an_outage_is_over_for_every_job_when_the_server_is_back(rig: Rig) -> None:
    """What ends meanwhile is not run again, and what waited for its time is on time: neither waits for a timeout."""
    server = rig.pgmq()
    worker = long_worker(rig, CELERYKIT_STUCK_AFTER=18, CELERY_RESULT_BACKEND="UNSET")
    send_late(worker, 20)
    until(lambda: rig.client.unacknowledged() == 1, 60, "a job in the worker")
    rig.client.work(2, 6.0)
    rig.ledger.wait_running(2)
    until(lambda: rig.client.unacknowledged() == 3, 20, "three jobs in the worker")
    server.kill(20)
    worker.wait_log("a job has ended, of which PostgreSQL is told when it answers again", 90)
    server.start()
    rig.assert_nothing_lost(60)
    assert worker.state["Status"] == "running"


def test_a_job_that_waits_for_a_slot_is_no_sign_of_being_stuck(rig: Rig) -> None:
    """A worker with more jobs than slots waits for one to end, for as long as that takes."""
    rig.pgmq()
    worker = long_worker(rig, CELERY_WORKER_CONCURRENCY=1, CELERY_WORKER_PREFETCH_MULTIPLIER=2, CELERYKIT_STUCK_AFTER=6)
    rig.client.work(2, 12.0)
    rig.assert_nothing_lost(60)
    assert worker.state["Status"] == "running"


def test_workers_that_come_and_go_leave_no_queue(rig: Rig) -> None:
    """Neither events nor commands have queues that nobody would remove, and no row stays of a job that has ended."""
    rig.pgmq()
    rig.worker(CELERY_WORKER_TASK_EVENTS="true").stop()
    worker = rig.worker(CELERY_WORKER_TASK_EVENTS="true")
    rig.client.work(4, 0.1)
    rig.assert_nothing_lost()
    worker.signal("SIGKILL")
    assert queues(rig) == {"celery"}
    tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'pgmq'::regnamespace"
    names = {name for (name,) in rig.client.sql(tables)}
    assert names == {"meta", "notify_insert_throttle", "topic_bindings", "q_celery", "a_celery"}
    assert rig.client.sql("SELECT count(*) FROM pgmq.a_celery") == [(0,)]


def test_processes_that_start_at_once_make_one_schema(rig: Rig) -> None:
    """Whoever comes first installs PGMQ, the others wait, and who comes later finds it."""
    rig.pgmq()

    def connect(_: int) -> bool:
        with rig.client.app.connection_for_write() as connection:
            return connection.connect() is not None

    with ThreadPoolExecutor(8) as several:
        assert list(several.map(connect, range(8)))
    assert connect(0)
    # What the release lacks, and exchanges of topics need.
    rig.client.sql("SELECT pgmq.send_topic('any', '{}'::jsonb, '{}'::jsonb)")


@pytest.mark.slow_with("restart")
@pytest.mark.parametrize("fault", ["restart", "kill"])
def test_results_survive_their_server(rig: Rig, fault: str) -> None:
    """Jobs that end while the result backend is away are done, and so are their results."""
    rig.redis()
    server, address = rig.postgresql()
    url = f"db+postgresql+psycopg://celery:{rig.password}@postgresql:5432/celery?connect_timeout=2"
    worker = rig.worker(CELERY_RESULT_BACKEND=url, CELERYKIT_LONGEST_JOB=LONG)
    results = Celery("results", backend=url.replace("postgresql:5432", address), set_as_current=False)
    with meanwhile(lambda: rig.client.submit("jobs.work", 0.2), 0.1):
        rig.ledger.wait_running()
        if fault == "restart":
            server.stop()
        else:
            server.kill(20)
            # More than a database gets of Celery alone.
            until(lambda: worker.logs.count("Failed operation _store_result") > 8, 60, "attempts to store a result")
        server.start()
        until(lambda: server.answers("postgresql-health"), 30, "the server")
        rig.ledger.wait_accepted(5, 30)
    rig.assert_nothing_lost(twice=4)
    jobs = rig.ledger.account().accepted
    until(lambda: all(results.AsyncResult(job).state == "SUCCESS" for job in jobs), 30, "every result")


@pytest.mark.parametrize("backend", ["django-db", "own_results.OwnBackend"])
def test_results_of_a_django_project_survive_their_server(rig: Rig, backend: str) -> None:
    """They are in its own database, by django-celery-results: while that is away or read-only, a job waits for it."""
    rig.redis()
    server, address = rig.postgresql()
    rig.image = CELERY_IMAGE
    rig.install(ON_DJANGO)
    told = {"CELERY_RESULT_BACKEND": "UNSET", "DATABASE_PASSWORD": rig.password, "CELERYKIT_LONGEST_JOB": LONG}
    told["RESULTS"] = backend
    worker = rig.worker("prefork", "on_django", working_dir="/app/current", **told)
    worker.sh("python -m django migrate --settings project_settings --verbosity 0")
    with meanwhile(lambda: rig.client.submit("jobs.work", 0.2), 0.1):
        rig.ledger.wait_running()
        server.kill(20)
        until(lambda: worker.logs.count("Failed operation _store_result") > 4, 60, "attempts to store a result")
        server.start()
        until(lambda: server.answers("postgresql-health"), 30, "the server")
        with read_only(server):
            worker.wait_log("refuses results: 25006;", 60)
        rig.ledger.wait_accepted(5, 30)
    rig.assert_nothing_lost()
    jobs = sorted(rig.ledger.account().accepted)
    stored = "SELECT count(*) FROM django_celery_results_taskresult WHERE task_id = ANY(%s) AND status = 'SUCCESS'"
    with psycopg.connect(f"postgresql://celery:{rig.password}@{address}/celery", autocommit=True) as connection:
        until(lambda: connection.execute(stored, [jobs]).fetchone() == (len(jobs),), 30, "every result")
    assert not rig.ledger.account().started_twice


def test_old_results_go(rig: Rig) -> None:
    """The job that beat sends every night removes what is older than `result_expires`."""
    rig.pgmq()
    rig.worker()
    (job,) = rig.client.work(1, 0.1)
    until(lambda: rig.client.result(job).state == "SUCCESS", 30, "a result")
    rig.client.sql("UPDATE celery_taskmeta SET date_done = date_done - interval '2 days' RETURNING 1")
    rig.client.submit("celery.backend_cleanup")
    until(lambda: rig.client.result(job).state == "PENDING", 30, "that it goes")


def test_what_is_wrong_with_a_url_is_said_with_its_remedy(rig: Rig) -> None:
    """Variable, address and remedy, for the broker and for results; never the password."""
    rig.pgmq()
    right = rig.client.url
    faults = {
        right.replace(rig.password, "not-it"): "Give the user and password that PostgreSQL knows",
        right.removesuffix("celery") + "cellery": "pg_hba.conf",
        right.replace("127.0.0.1", "127.0.0.2"): "Start it, or mend the address",
    }
    for url, remedy in faults.items():
        results = url.replace("pgmq://", "db+postgresql+psycopg://")
        app = Celery("wrong", broker=url, backend=results, set_as_current=False)
        celerykit.configure(app)
        broker, backend = map(str, connectivity.refusals(app, {}))
        assert broker.startswith("CELERY_BROKER_URL=pgmq://celery:") and remedy in broker
        assert backend.startswith("CELERY_RESULT_BACKEND=db+postgresql+psycopg://celery:") and remedy in backend
        assert "not-it" not in broker + backend and rig.password not in broker + backend


def test_a_worker_that_is_refused_waits_and_says_why(rig: Rig) -> None:
    """The password may be about to change: when it is right, the worker works."""
    rig.pgmq()
    rig.broker_url = rig.broker_url.replace(rig.password, "wrong")
    worker = rig.worker(ready=False)
    worker.wait_log("Give the user and password that PostgreSQL knows")
    assert "password authentication failed" in worker.logs
    assert "wrong" not in worker.logs and worker.state["Status"] == "running"


def refusal(rig: Rig, query: Any) -> str:
    """Return what the server says to a statement of the user of Celery."""
    with pytest.raises(psycopg.Error) as caught:
        rig.client.sql(query)
    return str(caught.value)


def test_the_user_of_celery_may_no_more_than_it_needs(rig: Rig) -> None:
    """No other user, no other database, no file and no program of the server; nobody without the password."""
    server = rig.pgmq()
    for query in (
        "CREATE ROLE other",
        "CREATE DATABASE other",
        "SELECT * FROM pg_authid",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "SELECT pg_read_file('/etc/passwd')",
        "ALTER SYSTEM SET fsync = off",
        "SET ROLE postgres",
    ):
        assert "denied" in refusal(rig, query) or "must be" in refusal(rig, query), query
    for user, name in (("celery", "postgres"), ("postgres", "celery"), ("postgres", "postgres")):
        url = rig.client.url.replace("pgmq://celery:", f"postgresql://{user}:")
        with pytest.raises(psycopg.OperationalError, match="no pg_hba"):
            psycopg.connect(url.removesuffix("celery") + name)
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(rig.client.url.replace("pgmq://", "postgresql://").replace(f":{rig.password}", ""))
    assert server.sh("psql -At -c 'SHOW fsync' -c 'SHOW synchronous_commit' celery").split() == ["on", "on"]
    assert rig.password not in server.logs + server.sh("cat /secrets/postgresql/users.sql")


def test_a_first_start_that_is_cut_short_is_begun_anew(rig: Rig) -> None:
    """Whenever the power goes, the next start finds a whole data folder or makes one."""
    server, _ = rig.postgresql(ready=False)
    for pause in (0.1, 0.4, 0.8, 1.2):
        time.sleep(pause)
        server.kill(20)
        server.start()
    until(lambda: server.answers("postgresql-health"), 30, lambda: server.logs)
    assert server.sh("psql -At -c 'SELECT 1' celery").strip() == "1"


def test_two_servers_never_share_a_disk(rig: Rig) -> None:
    """The second says so and ends: each would spoil what the other writes."""
    server = rig.pgmq()
    other = rig.run(POSTGRESQL_IMAGE, volumes_from=[server.container.id])
    assert other.wait_exit(90) == 78
    assert "another container runs on the volume" in other.logs
    assert rig.client.ping()


def test_arguments_that_postgresql_cannot_hold_as_text_are_taken(rig: Rig) -> None:
    """The zero byte and the half of a character, as a file's name may have: other brokers take them as well."""
    rig.pgmq()
    assert rig.client.submit("any", "a\0b", "\ud800")
    assert len(rig.client.bodies("celery")) == 1


def test_a_broker_that_is_read_only_for_a_while_ends_no_worker(rig: Rig) -> None:
    """As after a failover: what ends meanwhile is done, and nothing waits until a visibility timeout is over."""
    server = rig.pgmq()
    worker = long_worker(rig, CELERY_RESULT_BACKEND="UNSET")
    rig.client.work(2, 3.0)
    rig.ledger.wait_running(2)
    with read_only(server):
        until(lambda: not rig.ledger.account().lost, 30, "the end of both")
        worker.wait_log("Trying to re-establish", 30)
        time.sleep(5)  # for attempts that follow each other without a pause
    rig.client.work(2, 0.1)
    rig.assert_nothing_lost()
    until(lambda: rig.client.queued() + rig.client.unacknowledged() == 0, 30, "an empty queue")
    assert not rig.ledger.account().started_twice
    assert worker.state["Status"] == "running" and worker.logs.count("Trying to re-establish") < 9
