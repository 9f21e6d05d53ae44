"""What RabbitMQ on a host is told, as the variables of the roles say."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.unit.role.conftest import ROOT

SCRIPT = ROOT / "roles" / "rabbitmq" / "files" / "define.py"
TOLD: dict[str, Any] = {
    "passwords": {"worker": "w1", "producer": "p1", "operator": "hunter2"},
    "queues": [],
    "environments": [{}],
    "stop_timeouts": [""],
    "pools": [[{}]],
}


def define(**told: Any) -> dict[str, Any]:
    """Return the script's answer: what Ansible calls, on a Python without a package."""
    command = [sys.executable, "-S", str(SCRIPT)]
    done = subprocess.run(command, input=json.dumps({**TOLD, **told}), capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
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
