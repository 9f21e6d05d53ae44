"""What PostgreSQL refuses is said with its remedy, and what PGMQ would keep for ever is not made."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from celery import Celery
from kombu import Connection

import celerykit
from celerykit import releases
from celerykit.brokers import postgresql

if releases.lacks("pgmq"):
    pytest.skip("kombu lacks PGMQ as a broker", allow_module_level=True)

from celerykit.transports import account
from celerykit.worker.acknowledgement import acknowledge
from celerykit.worker.events import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ('FATAL:  password authentication failed for user "celery"', "Give the user and password"),
        ('FATAL:  database "jobs" does not exist', "Make the database"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "celery"', "pg_hba.conf"),
        ("permission denied for database celery", "GRANT CREATE"),
        ('no pg_hba.conf entry for host "10.0.0.1", user "celery", database "celery", no encryption', "TLS alone is"),
        ("SSL error: certificate verify failed", "in CELERYKIT_TLS_CA"),
        ('server certificate for "pg" does not match host name "other"', "Write the host in the URL"),
        ("server does not support SSL, but SSL was required", "No TLS is spoken there"),
        ("FATAL:  sorry, too many clients already", "max_connections"),
    ],
)
def test_a_refusal_has_its_remedy(problem: str, remedy: str) -> None:
    """Whoever reads the log knows what to do."""
    assert remedy in postgresql.remedy(problem)
    assert postgresql.with_remedy(f"{problem}\n") == f"{problem}. {postgresql.remedy(problem)}"


def test_anything_else_is_left_as_it_is() -> None:
    """No advice where nobody knows any."""
    assert postgresql.with_remedy("Connection refused") == "Connection refused"


@pytest.fixture
def message(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A message of a server that does not answer any more; afterwards nothing tries to reach it."""
    monkeypatch.setenv("CELERYKIT_STUCK_AFTER", "18")  # for little patience
    monkeypatch.setattr(account, "_accounts", {})
    transport = Connection("pgmq://celery:secret@127.0.0.1:1/celery", transport="celerykit.transports.pgmq:Transport")
    channel = transport.transport.create_channel(transport.transport)
    told = {"delivery_tag": "tag", "delivery_info": {"pgmq_queue": "celery", "pgmq_msg_id": 1}}
    told["delivery_info"]["pgmq_message"] = {"read_ct": 1}
    made = channel.Message({"body": "{}", "properties": told}, channel=channel)
    channel.qos.append(made, "tag")
    yield made
    made.channel.connection.account.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pool-")]


def test_a_job_that_must_not_run_twice_does_not_run_unacknowledged(message: Any) -> None:
    """At most once: while PostgreSQL is away, nobody can say that the job is this worker's alone."""
    with pytest.raises(psycopg.OperationalError):
        acknowledge(message)
    assert not message.acknowledged


def test_a_job_that_has_ended_is_no_error_while_the_server_is_away(message: Any) -> None:
    """At least once: it is acknowledged later, by whoever connects next."""
    message.ack()
    (debt,) = message.channel.connection.account.debts
    assert (debt.queue, debt.number, debt.ended) == ("celery", 1, True)


def test_a_fork_that_ends_leaves_its_parent_s_connections_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of web pages forks processes; one that ends by itself would tell PostgreSQL to end its parent's."""
    own = account.Account("host=127.0.0.1 port=1", {}, 1.0)
    closed = []
    monkeypatch.setattr(own._pool, "close", lambda: closed.append(os.getpid()))
    own._process = os.getppid()
    own.close()
    assert closed == []
    own._process = os.getpid()
    own.close()
    assert closed == [os.getpid()]


def pgmq_app() -> Celery:
    """Return an app on PGMQ, with the kit."""
    app = Celery("any", broker="pgmq://celery:secret@postgresql/celery", set_as_current=False)
    celerykit.configure(app)
    return app


def test_no_worker_on_pgmq_has_a_queue_of_commands_unless_its_app_asks_for_it() -> None:
    """It would outlive the worker, and every broadcast would fill it."""
    assert pgmq_app().conf.worker_enable_remote_control is False
    asking = pgmq_app()
    asking.conf.worker_enable_remote_control = True
    assert asking.conf.worker_enable_remote_control is True


def test_no_events_are_sent_by_pgmq() -> None:
    """The queue of a receiver that has gone would grow for ever."""
    app = pgmq_app()
    assert not Dispatcher(app.connection_for_write(), hostname="any", app=app, enabled=True).enabled
