"""What an app and its surroundings both say: which of the two holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

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
