"""The values that the kit puts between an app's and Celery's."""

from __future__ import annotations

import pytest
from celery.app.defaults import NAMESPACES, flatten

from celerykit import defaults
from celerykit.settings import Settings

KNOWN = {name for name, _ in flatten(NAMESPACES)}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_every_default_is_a_setting_of_the_installed_celery(pool: str) -> None:
    """No safe default is ignored because Celery calls it otherwise, and none is given twice."""
    names = [item.name for item in defaults.app_defaults(Settings(), pool)]
    assert set(names) <= KNOWN
    assert len(names) == len(set(names))
    assert defaults.cancels_on_connection_loss("redis").name in KNOWN


@pytest.mark.parametrize(("pool", "prefetch"), [("prefork", 1), ("threads", 1), ("solo", 1), ("gevent", 4)])
def test_green_pools_prefetch_four_and_all_others_one(pool: str, prefetch: int) -> None:
    """No prefetched job waits behind a long one, and gevent does not stall on Redis."""
    values = {item.name: item.value for item in defaults.app_defaults(Settings(), pool)}
    assert values["worker_prefetch_multiplier"] == prefetch


def test_only_rabbitmq_ends_jobs_when_its_connection_is_lost() -> None:
    """RabbitMQ hands such a job to another worker at once; on Redis it may finish."""
    ends = {scheme: defaults.cancels_on_connection_loss(scheme).value for scheme in ("amqp", "amqps", "redis")}
    assert ends == {"amqp": True, "amqps": True, "redis": False}


@pytest.mark.parametrize("scheme", ["redis", "rediss", "sentinel"])
def test_a_dead_worker_s_jobs_are_looked_for_often_enough(scheme: str) -> None:
    """On Redis in every form a lost job runs again within the visibility timeout and 10 s."""
    values = {item.name: item.value for item in defaults.transport_options(Settings(longest_job=20.0), scheme)}
    assert values["visibility_timeout"] == 30.0
    assert values["unacked_restore_interval"] * values["unacked_restore_throttle"] <= 10


def test_other_brokers_get_no_options_of_these() -> None:
    """A transport that does not know an option may refuse it."""
    assert defaults.transport_options(Settings(), "sqs") == []
