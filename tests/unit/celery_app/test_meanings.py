"""The settings of Celery that the kit takes otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery
from celery.app.defaults import DEFAULTS

import celerykit
from celerykit import releases
from celerykit.celery_app import meanings

if TYPE_CHECKING:
    from tests.unit.conftest import Run


def app(**own: object) -> Celery:
    """Return an app with the kit's layer and settings of its own, by a namespace as Django apps have them."""
    made = Celery("app", broker="memory://", set_as_current=False)
    made.config_from_object({f"SHOP_{name.upper()}": value for name, value in own.items()}, namespace="SHOP")
    celerykit.configure(made)
    return made


@pytest.mark.parametrize("meaning", meanings.MEANINGS, ids=lambda meaning: meaning.name)
def test_each_is_a_setting_of_celery(meaning: meanings.Meaning) -> None:
    """Nobody looks in vain for a name of the page in Celery's documentation."""
    assert meaning.name in DEFAULTS or (releases.lacks("acks by ending") and "_on_" in meaning.name)


def test_what_the_app_sets_is_told_from_what_the_kit_sets() -> None:
    """Only the app's own is named, in whatever way it was given."""
    assert list(meanings.set_by(app().conf)) == []
    found = {meaning.name: value for meaning, value in meanings.set_by(app(task_acks_late=True).conf)}
    assert found == {"task_acks_late": True}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("worker_enable_soft_shutdown_on_idle", True, "an idle worker ends at once"),
        ("worker_enable_soft_shutdown_on_idle", False, None),
        ("worker_pool", "threads", "CELERY_WORKER_POOL"),
        ("worker_pool", "prefork", None),
        ("worker_soft_shutdown_timeout", 30.0, "bounded to 20 s"),
        ("worker_soft_shutdown_timeout", 20.0, None),
        ("task_acks_late", False, None),
    ],
)
def test_what_has_no_effect_is_said_at_the_start(name: str, value: object, said: str | None) -> None:
    """And nothing is said of what has."""
    lines = list(meanings.without_effect(app(**{name: value}).conf, "prefork", 20.0))
    if said is None:
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith(f"{name}={value!r} of the app") and said in line


def test_explain_names_what_the_app_sets(celerykit: Run) -> None:
    """`celerykit worker --explain` says of it what it does instead."""
    answer = celerykit("worker", "--explain", CELERY_APP="softly")
    assert answer.returncode == 0, answer.stderr
    (line,) = [line for line in answer.stdout.splitlines() if line.startswith("worker_soft_shutdown_timeout=")]
    assert line.startswith("worker_soft_shutdown_timeout=4.0  # the app; under celerykit: The most that running jobs")
