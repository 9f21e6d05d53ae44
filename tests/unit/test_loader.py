"""The kit's layer of settings under an app's own, seen where a worker and a beat use them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from celerykit import releases

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Run

LOADER = {"CELERY_LOADER": "celerykit.loader:Loader"}
SAFE = {
    "acks_late": True,
    "reject_on_worker_lost": True,
    "task_time_limit": None,
    "worker_time_limit": None,
    "prefetch_multiplier": 1,
    "consumer": "celerykit.worker.consumer:Consumer",
    "request": "celerykit.worker.settlement:Request",
    "sync_every": 1,
    "max_interval": 30,
    "scheduler": "celerykit.beat:PersistentScheduler",
}
STEPS = {
    "celerykit.worker.recorder:Records",
    "celerykit.worker.autoscaler:Adapting",
    "celerykit.worker.liveness:Vitals",
    "celerykit.worker.shutdown:Stop",
    "celerykit.worker.timers:Timers",
}


@pytest.fixture
def effective(python: Run) -> Any:
    """Return a function that tells what the worker and the beat of an app have."""

    def ask(app: str, **environ: str) -> dict[str, Any]:
        answer = python("effective.py", app, environ=environ)
        assert answer.returncode == 0, answer.stderr
        return dict(json.loads(answer.stdout))

    return ask


def of(told: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return some of what is told."""
    return {name: told[name] for name in names}


def test_an_app_that_sets_nothing_gets_the_safe_defaults(effective: Any) -> None:
    """Late acknowledgement, requeue of a lost child's job, one prefetched job, no time limit, an exact beat."""
    told = effective("nothing", **LOADER)
    assert of(told, *SAFE) == SAFE
    assert set(told["steps"]) == STEPS
    assert of(told["transport_options"], "visibility_timeout", "socket_timeout") == {
        "visibility_timeout": 3610.0,
        "socket_timeout": 10.0,
    }


def test_without_the_loader_an_app_is_celery_s_own(effective: Any) -> None:
    """The kit changes nothing for a program that did not ask; this is what its users would have."""
    told = effective("nothing")
    assert of(told, "acks_late", "prefetch_multiplier") == {"acks_late": False, "prefetch_multiplier": 4}
    assert told["steps"] == []


@pytest.mark.parametrize("app", ["updated", "assigned", "from_module", "from_namespace", "from_django", "old_names"])
def test_an_app_s_own_settings_win_in_every_style(effective: Any, app: str) -> None:
    """What an app sets holds, however it says it; what it leaves out is safe; broker options merge key by key."""
    told = effective(app, **LOADER)
    own = {
        "prefetch_multiplier": 7,
        "reject_on_worker_lost": False,
        "task_time_limit": 120,
        "worker_time_limit": 120,
        "sync_every": 9,
    }
    if releases.lacks("time limits of tasks"):
        own["task_time_limit"] = None
    assert of(told, *SAFE) == {**SAFE, **own}
    assert of(told["transport_options"], "socket_timeout", "own", "visibility_timeout", "socket_keepalive") == {
        "socket_timeout": 3.0,
        "own": "kept",
        "visibility_timeout": 3610.0,
        "socket_keepalive": True,
    }


def test_an_app_that_wants_the_opposite_gets_it(effective: Any) -> None:
    """No safe default is forced on anybody, not even by way of None or 0."""
    told = effective("opposite", **LOADER)
    assert of(told, *SAFE) == {
        **SAFE,
        "acks_late": False,
        "reject_on_worker_lost": False,
        "task_time_limit": None,
        "worker_time_limit": None,
        "prefetch_multiplier": 7,
        "consumer": "celery.worker.consumer.consumer:Consumer",
        "sync_every": 0,
        "scheduler": "celery.beat:PersistentScheduler",
        "max_interval": 300,  # Celery's own, until the kit's beat bounds every scheduler
    }
    assert told["transport_options"]["visibility_timeout"] == 5


@pytest.mark.parametrize("app", ["configured", "configured_late"])
def test_a_line_of_code_gives_the_same(effective: Any, app: str) -> None:
    """celerykit.configure(app) does what the variable does, early or late, and twice as well as once."""
    told = effective(app)
    assert of(told, *SAFE) == SAFE
    assert sorted(told["steps"]) == sorted(STEPS)
    assert told["transport_options"]["visibility_timeout"] == 3610.0


def test_both_ways_together_are_harmless(effective: Any) -> None:
    """An app with the line of code runs under `celerykit worker`, which sets the variable."""
    told = effective("configured", **LOADER)
    assert of(told, *SAFE) == SAFE
    assert sorted(told["steps"]) == sorted(STEPS)


def test_at_most_once_flips_the_acknowledgement(effective: Any) -> None:
    """With CELERYKIT_DELIVERY=at-most-once a task is acknowledged early and never requeued."""
    told = effective("nothing", **LOADER, CELERYKIT_DELIVERY="at-most-once")
    assert of(told, "acks_late", "reject_on_worker_lost") == {"acks_late": False, "reject_on_worker_lost": False}


def test_the_longest_job_moves_what_follows_from_it(effective: Any) -> None:
    """One number sets the time limit of tasks and, ten seconds later, the redelivery."""
    told = effective("nothing", **LOADER, CELERYKIT_LONGEST_JOB="20", CELERY_WORKER_POOL="solo")
    of_task = None if releases.lacks("time limits of tasks") else 20.0
    assert of(told, "task_time_limit", "worker_time_limit") == {"task_time_limit": of_task, "worker_time_limit": 20.0}
    assert told["transport_options"]["visibility_timeout"] == 30.0
    assert told["concurrency"] == 1


def test_rabbitmq_gets_confirms_and_no_options_of_redis(effective: Any) -> None:
    """The options follow the broker that the app uses."""
    told = effective("nothing", **LOADER, CELERY_BROKER_URL="amqp://127.0.0.1:1//")
    assert told["transport_options"] == {"confirm_publish": True}


def test_a_producer_needs_two_variables(python: Run, tmp_path: Path) -> None:
    """With CELERY_LOADER and CELERY_BROKER_URL_FILE a web process publishes, from as many apps as it has."""
    secret = tmp_path / "url"
    secret.write_text("redis://celery:secret@127.0.0.1:1/0\n")
    answer = python("producers.py", environ={**LOADER, "CELERY_BROKER_URL": "", "CELERY_BROKER_URL_FILE": str(secret)})
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == ["redis://celery:secret@127.0.0.1:1/0 3610.0"] * 2
