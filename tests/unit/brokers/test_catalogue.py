"""Which brokers and result backends a process starts with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery
from celery.app.backends import BACKEND_ALIASES
from kombu.transport import TRANSPORT_ALIASES

from celerykit.brokers import catalogue
from celerykit.checks import job_loss
from celerykit.config.settings import AT_LEAST_ONCE, AT_MOST_ONCE, Settings

if TYPE_CHECKING:
    from tests.unit.conftest import Run


def refused(broker: str, backend: str = "", delivery: str = AT_LEAST_ONCE) -> str:
    """Return why an app is refused, nothing if it is not."""
    app = Celery("refused", set_as_current=False, broker=broker, backend=backend or None)
    return "\n".join(map(str, catalogue.refusals(app, delivery, {"CELERY_BROKER_URL": "celery.env:2"})))


@pytest.mark.parametrize(
    ("url", "instead"),
    [
        ("beanstalk://h/", "amqp://"),
        ("couchdb://h/", "redis://"),
        ("django://", "pgmq://"),
        ("ironmq://", "sqs://"),
        ("slmq://h", "redis://"),
        ("qpid://h", "amqp://"),
        ("librabbitmq://h", "amqp://"),
        ("ghettoq://h", "redis://"),
    ],
)
def test_a_broker_that_is_gone_is_refused_with_what_replaces_it(url: str, instead: str) -> None:
    """An app of old days is told where to go."""
    said = refused(url)
    assert "any more" in said and instead in said and "celery.env:2" in said


@pytest.mark.parametrize(
    ("url", "instead"),
    [
        ("amqp://h/", "rpc://"),
        ("riak://h/", "redis://"),
        ("ironcache://", "redis://"),
        ("djcelery.backends.database:DatabaseBackend", "django-db"),
    ],
)
def test_a_result_backend_that_is_gone_is_refused_with_what_replaces_it(url: str, instead: str) -> None:
    """The broker beside it is not blamed."""
    said = refused("redis://h/0", url)
    assert said.startswith("CELERY_RESULT_BACKEND") and "any more" in said and instead in said


@pytest.mark.parametrize("url", ["filesystem://", "memory://", "zookeeper://h/"])
def test_a_broker_that_loses_a_killed_worker_s_job_is_refused_for_at_least_once(url: str) -> None:
    """Unless the operator writes that jobs may be lost."""
    assert "lost when the worker dies" in refused(url)
    assert "CELERYKIT_DELIVERY=at-most-once" in refused(url)
    assert "lost when" not in refused(url, delivery=AT_MOST_ONCE)


def test_every_broker_of_a_list_is_looked_at() -> None:
    """One that would lose jobs hides behind no other."""
    assert "forgets a job" in refused("redis://h/0;filesystem://")
    assert refused("redis://h/0;redis://i/0") == ""


def test_a_package_that_is_missing_is_named() -> None:
    """With the requirement that really installs it."""
    assert "pymongo" in refused("mongodb://h/") and "celery[mongodb]" in refused("mongodb://h/")
    assert "elasticsearch<7.14" in refused("redis://h/0", "elasticsearch://h/")


def test_a_misspelt_scheme_is_refused_with_the_nearest() -> None:
    """Celery would say KeyError."""
    assert "Did you mean redis://?" in refused("reddis://h/0")
    assert "Did you mean dynamodb://?" in refused("redis://h/0", "dynamo://h/0")


@pytest.mark.parametrize(
    ("broker", "backend"), [("redis://h/0", "redis://h/1"), ("amqp://h//", "rpc://"), ("redis://h/0", "disabled")]
)
def test_what_works_is_let_through(broker: str, backend: str) -> None:
    """No word about what is as it should be."""
    assert refused(broker, backend) == ""


def test_a_broker_that_nobody_has_tried_is_told_of() -> None:
    """It starts, and `celerykit check` says what is not known."""
    app = Celery("judged", set_as_current=False, broker="consul://user:secret@h/")
    (found,) = [found for found in job_loss.judge(app, Settings()) if found.variable == "broker_url"]
    assert "was never tried" in found.problem and "secret" not in str(found)


def test_each_transport_of_kombu_has_its_place() -> None:
    """One that a new release brings is noticed here."""
    schemes = {scheme for server in catalogue.BROKERS for scheme in server.schemes}
    assert {name.lower() for name in TRANSPORT_ALIASES} <= schemes


def test_each_result_backend_of_celery_has_its_place() -> None:
    """One that a new release brings is noticed here."""
    schemes = {scheme for server in catalogue.BACKENDS for scheme in server.schemes}
    assert set(BACKEND_ALIASES) - {"disabled"} <= schemes


def test_a_worker_ends_with_the_reason(celerykit: Run) -> None:
    """Exit code 78, one line, the password masked."""
    answer = celerykit("worker", CELERY_APP="nothing", CELERY_BROKER_URL="beanstalk://user:secret@h/")
    assert answer.returncode == 78
    assert "Celery 5.7 has no Beanstalk any more" in answer.stderr
    assert "secret" not in answer.stderr and answer.stderr.count("\n") == 1
