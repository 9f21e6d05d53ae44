"""What an app and its surroundings both say: which of the two holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from celerykit.celery_app import precedence

if TYPE_CHECKING:
    from tests.unit.conftest import Run

STACK = "redis://celery:pencil@redis/0"
RESULTS = "redis://results:pencil@redis/1"
STYLES = ("arguments", "assigned", "late", "module", "namespace", "old names")


@pytest.fixture
def said(python: Run, tmp_path: Path) -> Any:
    """Return a function that tells, by style, what an app has when it is told of the stack's servers."""

    def ask(**environ: str) -> dict[str, Any]:
        told = {"CELERY_BROKER_URL": STACK}
        for name, value in environ.items():
            (tmp_path / name).write_text(f"{value}\n")
            told[f"{name}_FILE"] = str(tmp_path / name)
        answer = python("saying.py", environ=told)
        assert answer.returncode == 0, answer.stderr
        assert "pencil" not in answer.stdout.replace(STACK, "").replace(RESULTS, ""), "no password is shown"
        return dict(json.loads(answer.stdout))

    return ask


def test_an_app_s_own_result_backend_wins_over_that_of_the_stack(said: Any) -> None:
    """In every style; an app that names none gets the stack's, and one that wants no results gets none."""
    answer = said(CELERYKIT_RESULT_BACKEND=RESULTS)
    for style in STYLES:
        broker, results, kind, findings = answer[style]
        assert (broker, results, kind) == (STACK, "cache+memory://", "CacheBackend"), style
        assert any(
            "result_backend=cache+memory://" in line and "holds, and not CELERYKIT_" in line for line in findings
        )
    assert answer["silent"] == [STACK, RESULTS, "RedisBackend", []]
    assert answer["without"][1:3] == ["disabled://", "DisabledBackend"]


def test_a_broker_that_gives_way_is_said_to_without_its_password(said: Any) -> None:
    """Who sends jobs elsewhere, by the app's own settings, finds out where the worker looks."""
    answer = said()
    assert answer["silent"] == [STACK, "None", "DisabledBackend", []]
    for style in STYLES:
        (line,) = answer[style][3]
        assert line.startswith("broker_url=redis://me:***@mine/0 (app ")
        assert "gives way to CELERY_BROKER_URL=redis://celery:***@redis/0 (environment)" in line


def test_celery_s_own_variable_wins_over_the_app_as_in_celery(said: Any) -> None:
    """Who sets CELERY_RESULT_BACKEND by hand gets what Celery does with it, whatever the stack has."""
    answer = said(CELERYKIT_RESULT_BACKEND="file:///nowhere", CELERY_RESULT_BACKEND=RESULTS)
    for style, (_, results, kind, findings) in answer.items():
        assert (results, kind) == (RESULTS, "RedisBackend"), style
        assert (style == "silent") or any(
            "gives way to CELERY_RESULT_BACKEND=redis://results:***" in f for f in findings
        )


TOLD = {
    "CELERY_BROKER_URL": ("broker_url", "redis://mine/0", STACK),
    "CELERY_RESULT_BACKEND": ("result_backend", "file:///tmp", RESULTS),
    "CELERY_WORKER_POOL": ("worker_pool", "celery.concurrency.prefork", "celerykit.worker.threads"),
    "CELERY_WORKER_CONCURRENCY": ("worker_concurrency", 7, 3),
    "CELERY_WORKER_AUTOSCALE": ("worker_concurrency", 7, 5),
    "CELERY_WORKER_PREFETCH_MULTIPLIER": ("worker_prefetch_multiplier", 7, 3),
    "CELERY_WORKER_TIME_LIMIT": ("task_time_limit", 70, 30.0),
    "CELERY_WORKER_SOFT_TIME_LIMIT": ("task_soft_time_limit", 60, 30.0),
    "CELERY_WORKER_MAX_TASKS_PER_CHILD": ("worker_max_tasks_per_child", 7, 3),
    "CELERY_WORKER_MAX_MEMORY_PER_CHILD": ("worker_max_memory_per_child", 700000, 300000),
    "CELERY_WORKER_TASK_EVENTS": ("worker_send_task_events", False, True),
    "CELERY_WORKER_QUEUES": ("task_queues", {"mine": 3, "other": None}, {"mine": 3}),
    "CELERY_BEAT_SCHEDULE": ("beat_schedule_filename", "/mine/schedule", "/told/schedule"),
}
"""For each variable that wins over an app's setting: the app's, what holds without it, and what it says."""
GIVING_WAY = {
    "CELERYKIT_RESULT_BACKEND": RESULTS,
    "CELERYKIT_LONGEST_JOB": "30",
    "CELERYKIT_DELIVERY": "at-most-once",
    "CELERYKIT_TUNE": "on",
}
"""Variables that do not, and what they say."""


def test_each_variable_wins_or_gives_way_as_the_table_says(python: Run) -> None:
    """A worker and beat of an app that says everything, told nothing, then everything that wins or gives way."""
    rows = {(side.variable, side.setting): side.wins for side in precedence.SIDES}

    def ask(**environ: str) -> dict[str, Any]:
        answer = python("told.py", environ={"CELERY_BROKER_URL": STACK, **environ})
        assert answer.returncode == 0, answer.stderr
        return dict(json.loads(answer.stdout))

    values = {"CELERY_WORKER_POOL": "threads", "CELERY_WORKER_QUEUES": "mine", "CELERY_WORKER_TASK_EVENTS": "true"}
    all_of_them = {name: values.get(name, str(value)) for name, (_, _, value) in TOLD.items()}
    autoscale = {"CELERY_WORKER_AUTOSCALE": "5,1"}
    del all_of_them["CELERY_WORKER_AUTOSCALE"]
    own = ask(**GIVING_WAY, OWN_READ_URL="redis://mine/1")
    told, scaled = ask(**all_of_them), ask(**autoscale)
    for name, (setting, of_app, of_variable) in TOLD.items():
        assert rows[name, setting] == precedence.VARIABLE
        assert (scaled if name in autoscale else told)[setting] == of_variable, name
        assert name == "CELERY_BROKER_URL" or own[setting] == of_app, name
    assert all(rows[name, setting] == precedence.APP for name, setting in rows if name in GIVING_WAY)
    assert own["task_acks_late"] is True
    assert own["broker_read_url"] == "redis://mine/1" and rows["CELERY_BROKER_URL", "broker_read_url"] == precedence.APP


def test_an_app_that_chooses_for_itself_wins_as_the_table_says(python: Run) -> None:
    """Its loader and its settings module hold; what it sets by default gives way, and what it assigns does not."""
    rows = {(side.variable, side.setting): side.wins for side in precedence.SIDES}
    told = {
        "CELERY_LOADER": "celerykit.loader:Loader",
        "CELERY_CONFIG_MODULE": "plain_settings",
        "DJANGO_SETTINGS_MODULE": "shop.settings.production",
    }
    answer = python("choosing.py", environ=told)
    assert answer.returncode == 0, answer.stderr
    own = json.loads(answer.stdout)
    assert own["layers"] == {"silent": True, "own": False}
    assert own["limits"] == {"silent": 120, "loading": 7}
    assert (own["by default"], own["assigned"]) == ("shop.settings.production", "shop.settings.fixed")
    assert rows["CELERY_LOADER", "loader="] == rows["CELERY_CONFIG_MODULE", "config_from_object()"] == precedence.APP
    assert rows["DJANGO_SETTINGS_MODULE", "os.environ.setdefault()"] == precedence.VARIABLE


def test_the_table_has_every_variable_that_is_set_somewhere() -> None:
    """Whatever compose files, images, roles and init systems say to processes of Celery is documented."""
    root = Path(__file__).parents[3]
    files = [
        *root.glob("compose/**/*.yaml"),
        *root.glob("supervisor/*"),
        *root.glob("systemd/*"),
        *root.glob("init.d/*"),
    ]
    files += [root / "images" / "Dockerfile", root / "src" / "celerykit" / "deploy" / "configuration.py"]
    names = {
        name for file in files if file.is_file() for name in re.findall(r"\bCELERY_\w+\b(?=[:=])", file.read_text())
    }
    known = {side.variable for side in precedence.SIDES}
    assert {name.removesuffix("_FILE") for name in names} - known <= {
        "CELERY_BEAT_LOGLEVEL",  # which an app has no setting for
        "CELERY_WORKER_LOGLEVEL",
    }
