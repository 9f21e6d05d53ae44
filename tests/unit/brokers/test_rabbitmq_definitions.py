"""What RabbitMQ is told at each start."""

from __future__ import annotations

import json
import re

from kombu.transport import native_delayed_delivery as kombu

from celerykit.brokers.rabbitmq_definitions import DELIVERY, LEVELS, RIGHTS, definitions, level_name
from celerykit.config.settings import Settings

PASSWORDS = {name: f"secret-{name}" for name in RIGHTS}


def test_the_same_passwords_make_the_same_file() -> None:
    """A start that changes nothing writes nothing; and no password is in it."""
    text = definitions(PASSWORDS, ["celery"], Settings())
    assert text == definitions(PASSWORDS, ["celery"], Settings())
    assert "secret" not in text


def test_delays_go_by_the_names_of_kombu() -> None:
    """What a producer sends to the first level arrives: as many levels as Kombu counts, and called the same."""
    assert (LEVELS, DELIVERY) == (kombu.MAX_NUMBER_OF_BITS_TO_USE, kombu.CELERY_DELAYED_DELIVERY_EXCHANGE)
    assert [*map(level_name, range(LEVELS))] == [*map(kombu.level_name, range(LEVELS))]


def test_the_longest_job_is_not_taken_from_its_worker() -> None:
    """It may wait for its ETA there, run, and be part of a stop."""
    content = json.loads(definitions(PASSWORDS, ["celery"], Settings(longest_job=100.0, stop_timeout=30.0)))
    assert content["policies"][0]["definition"]["consumer-timeout"] == 230_000


def test_the_policy_is_for_queues_of_jobs_alone() -> None:
    """Those of events, remote control, delays and dead letters are Celery's and the kit's own."""
    content = json.loads(definitions(PASSWORDS, ["celery"], Settings()))
    pattern = re.compile(content["policies"][0]["pattern"])
    assert pattern.match("celery") and pattern.match("reports.daily")
    others = [
        "celeryev.1",
        "w@h.celery.pidbox",
        "celery_delayed_3",
        "celerykit.dead-letters",
        "celerykit.expired",
        "celerykit.revoked",
        "amq.gen-1",
    ]
    assert not [name for name in others if pattern.match(name)]


def test_a_worker_reads_of_the_kit_s_own_queues_what_is_revoked_alone() -> None:
    """Dead letters hold other pools' arguments, and a producer has nothing to revoke."""
    names = ("celerykit.revoked", "celerykit.dead-letters", "celerykit.revoked.old", "celery")
    assert [bool(re.match(RIGHTS["worker"]["read"], name)) for name in names] == [True, False, False, True]
    for right in ("configure", "write", "read"):
        assert not re.match(RIGHTS["producer"][right], "celerykit.revoked")
