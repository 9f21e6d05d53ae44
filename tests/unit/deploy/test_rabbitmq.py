"""What RabbitMQ on a host is told, as the variables of the roles say."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pytest

from celerykit.deploy import rabbitmq

TOLD: dict[str, Any] = {
    "host": {"system": "Debian 13", "service_mgr": "systemd", "addresses": ["10.0.0.5"]},
    "package": {"known": True, "version": "4.0.5", "oldest": "4.0"},
    "bind": ["127.0.0.1"],
    "memory": "0.6",
    "disk_free": "2GiB",
    "found": [],
    "passwords": {"worker": "w1", "producer": "p1", "operator": "hunter2"},
    "queues": [],
    "environments": [{}],
    "stop_timeouts": [""],
    "pools": [[{}]],
}


def define(**told: Any) -> dict[str, Any]:
    """Return the answer to the role, the definitions decoded."""
    answer = rabbitmq.make(cast("Any", {**TOLD, **told}))
    if not answer["errors"]:
        answer["definitions"] = json.loads(base64.b64decode(answer["definitions"]))
    return answer


def job_queues(answer: dict[str, Any]) -> set[str]:
    """Return the queues of jobs that are there before any worker is."""
    names = {queue["name"] for queue in answer["definitions"]["queues"]}
    return {name for name in names if not name.startswith(("celery_delayed_", "celerykit."))}


def test_every_pool_finds_its_queues() -> None:
    """Those of all hosts, however they are written, the default one where a pool names none, and what else is named."""
    pools = [[{"queues": ["mails", "imports"]}, {"CELERY_WORKER_QUEUES": "slow,mails"}], [{"queues": "a, b"}]]
    two = {"environments": [{}, {}], "stop_timeouts": ["", 60], "pools": pools}
    assert job_queues(define(**two, queues=["routed"])) == {"mails", "imports", "slow", "a", "b", "routed"}
    assert job_queues(define()) == {"celery"}
    assert job_queues(define(environments=[], stop_timeouts=[], pools=[])) == {"celery"}


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({}, 30 * 86400),
        ({"environments": [{"CELERYKIT_LONGEST_JOB": 10}], "stop_timeouts": [60]}, 80),
        ({"environments": [{"CELERYKIT_LONGEST_JOB": 10}], "pools": [[{}, {"CELERYKIT_LONGEST_JOB": "9000"}]]}, 18600),
        ({"pools": [[{}, {"CELERYKIT_LONGEST_JOB": "9000"}]]}, 30 * 86400),
    ],
)
def test_no_pool_s_longest_job_is_taken_from_it(told: dict[str, Any], seconds: int) -> None:
    """RabbitMQ waits for the pool with the longest jobs and the longest stop, or a month where one has no limit."""
    (policy,) = [item for item in define(**told)["definitions"]["policies"] if item["name"] == "celerykit-jobs"]
    assert policy["definition"]["consumer-timeout"] == seconds * 1000


def test_what_is_no_time_is_refused() -> None:
    """With the variable, the value and where it may be."""
    (error,) = define(environments=[{"CELERYKIT_LONGEST_JOB": "1h"}])["errors"]
    assert "CELERYKIT_LONGEST_JOB=1h (celery_workers, celery_environment or" in error
    assert "not a positive number of seconds" in error


def test_a_password_is_only_where_an_operator_logs_in() -> None:
    """The definitions hold hashes, and no password."""
    answer = define()
    assert "password = hunter2" in answer["operator"]
    assert "hunter2" not in json.dumps(answer["definitions"])


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"passwords": None}, "rabbitmq_passwords.worker is not set"),
        (
            {"passwords": {**TOLD["passwords"], "operator": "a&b"}},
            "rabbitmq_passwords.operator is set, but holds",
        ),
        ({"bind": ["192.0.2.1"]}, "rabbitmq_bind has 192.0.2.1, which is no address of this host"),
        ({"bind": []}, "rabbitmq_bind=[]: RabbitMQ would listen nowhere"),
        ({"memory": "plenty"}, "rabbitmq_memory=plenty or rabbitmq_disk_free=2GiB is no amount"),
        ({"memory": 0}, "rabbitmq_memory=0 or"),
        ({"disk_free": "0.5"}, "rabbitmq_disk_free=0.5 is no amount"),
        ({"found": ["/var/lib/rabbitmq/mnesia/rabbit@old"]}, "keeps its data in /var/lib/rabbitmq/mnesia/rabbit@old"),
        ({"package": {"known": True, "version": "3.10.8", "oldest": "4.0"}}, "Debian 13 has 3.10.8"),
        ({"package": {"known": True, "version": "0", "oldest": "4.0"}}, "Debian 13 has none"),
    ],
)
def test_a_server_that_would_not_start_or_lose_jobs_is_refused(told: dict[str, Any], reason: str) -> None:
    """Before anything is changed, with the variable and its value, and no password."""
    (error,) = [error for error in define(**told)["errors"] if reason in error]
    assert "a&b" not in error


@pytest.mark.parametrize(
    "told",
    [
        {"bind": ["0.0.0.0", "10.0.0.5"], "memory": "2GiB"},
        {"memory": 1.0, "found": ["/var/lib/rabbitmq/mnesia/rabbit@localhost-feature_flags"]},
        {"package": {"known": False, "version": "0", "oldest": "4.0"}},
        {"package": {"known": True, "version": "10.1", "oldest": "4.0"}},
    ],
)
def test_a_server_that_keeps_the_promise_is_taken(told: dict[str, Any]) -> None:
    """On every address, with its own data, and on a host whose archives a check cannot know."""
    assert define(**told)["errors"] == []
