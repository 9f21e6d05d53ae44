"""The values that the kit puts between an app's and Celery's."""

from __future__ import annotations

import pytest
from celery.app.defaults import NAMESPACES, flatten

from celerykit import releases
from celerykit.celery_app import defaults
from celerykit.config.settings import Settings

KNOWN = {name for name, _ in flatten(NAMESPACES)}
OF_NEWER = {"task_create_missing_queue_type"} if releases.lacks("queue types") else set()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_every_default_is_a_setting_of_the_installed_celery(pool: str) -> None:
    """No safe default is ignored because Celery calls it otherwise, and none is given twice."""
    names = [item.name for item in defaults.app_defaults(Settings(), pool)]
    assert set(names) <= KNOWN
    assert len(names) == len(set(names))
    assert defaults.OF_BROKER <= KNOWN | OF_NEWER
    assert not defaults.OF_BROKER & set(names)


@pytest.mark.parametrize(("pool", "prefetch"), [("prefork", 1), ("threads", 1), ("solo", 1), ("gevent", 4)])
def test_green_pools_prefetch_four_and_all_others_one(pool: str, prefetch: int) -> None:
    """No prefetched job waits behind a long one, and gevent does not stall on Redis."""
    values = {item.name: item.value for item in defaults.app_defaults(Settings(), pool)}
    assert values["worker_prefetch_multiplier"] == prefetch


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "pyamqp"])
def test_rabbitmq_in_every_form_has_what_its_jobs_need(scheme: str) -> None:
    """Confirms, quorum queues, and no second run beside the first."""
    assert defaults.of_broker(Settings(), scheme) == {
        "broker_transport_options": {"confirm_publish": True},
        "task_create_missing_queue_type": "quorum",
        "task_default_queue_type": "quorum",
        "worker_cancel_long_running_tasks_on_connection_loss": True,
    }


def test_redis_gets_nothing_of_rabbitmq() -> None:
    """There a job may finish when the connection breaks, and queues are as they are in Celery."""
    assert set(defaults.of_broker(Settings(), "redis")) == {"broker_transport_options"}


@pytest.mark.parametrize("scheme", ["redis", "rediss", "sentinel"])
def test_a_dead_worker_s_jobs_are_looked_for_often_enough(scheme: str) -> None:
    """On Redis in every form a lost job runs again within the visibility timeout and 10 s."""
    values = {item.name: item.value for item in defaults.transport_options(Settings(longest_job=20.0), scheme)}
    assert values["visibility_timeout"] == 30.0
    assert values["unacked_restore_interval"] * values["unacked_restore_throttle"] <= 10


def test_other_brokers_get_no_options_of_these() -> None:
    """A transport that does not know an option may refuse it."""
    assert defaults.of_broker(Settings(), "filesystem") == {"broker_transport_options": {}}


def test_a_broker_that_goes_by_time_alone_waits_for_the_longest_job() -> None:
    """In whole seconds, as Amazon wants them."""
    options = defaults.of_broker(Settings(longest_job=20.5), "sqs")["broker_transport_options"]
    assert options["visibility_timeout"] == 31


@pytest.mark.parametrize(("longest", "seconds"), [(None, 130), (20.5, 31), (7200.0, 130)])
def test_what_is_renewed_comes_back_soon(longest: float | None, seconds: int) -> None:
    """A dead worker's jobs on PGMQ wait for its lease, not for the longest job."""
    options = defaults.of_broker(Settings(longest_job=longest), "pgmq")["broker_transport_options"]
    assert options["visibility_timeout"] == seconds
