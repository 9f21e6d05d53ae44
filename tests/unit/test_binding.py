"""What a task has from its app's settings once it is bound, wherever the app names it and however it is configured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task
from celery.utils.imports import gen_task_name

import celerykit
from celerykit import check
from celerykit.settings import Settings
from tests.unit.conftest import APPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celerykit.errors import Finding

    Ask = Callable[..., dict[str, Any]]

KITS = ["loader", "first", "last", "bound"]
"""The variable, or celerykit.configure(app): when the app is made, at the end of its module, or after its tasks."""
LIMITS = {"task_time_limit": 120, "task_ignore_result": True, "task_default_rate_limit": "10/m"}
OPPOSITES = {"task_acks_late": False, "task_reject_on_worker_lost": False}
SAFE = {"acks_late": True, "reject_on_worker_lost": True}
WAYS = [
    "keywords",
    "changes",
    "source",
    "update",
    "assign",
    "assign_late",
    "module",
    "imported",
    "kind",
    "old_names",
    "namespace",
    "envvar",
    "celery_s_variable",
    "forced",
    "reloaded",
    "defaults",
    "lazy_defaults",
    "late_defaults",
    "on_configure",
    "on_after_configure",
    "subclass",
    "pickled",
    "pickled_late",
    "not_current",
    "current",
    "finalized_by_hand",
    "default",
    "django",
    "naming",
]
NAMERS = [
    "schedule",
    "send",
    "registry",
    "attribute",
    "finalized",
    "configuring",
    "lazy_default",
    "at_import",
    "pending",
    "import_modules",
    "celeryd_init",
    "celeryd_after_setup",
    "worker_init",
    "beat_init",
]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Return a function that asks a process of its own for what the tasks of an app have."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(APPS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
        "CELERYKIT_STATE_DIR": str(tmp_path_factory.mktemp("state")),
    }
    with subprocess.Popen(
        [sys.executable, "styles"], env=environ, cwd=APPS, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as asked:
        assert asked.stdin is not None and asked.stdout is not None
        told, heard = asked.stdin, asked.stdout

        def ask(way: str, namer: str, role: str, kit: str, own: dict[str, Any]) -> dict[str, Any]:
            broker = "memory://" if namer == "send" else "amqp://"
            question = {"way": way, "namer": namer, "role": role, "kit": kit, "own": own, "broker": broker}
            told.write(json.dumps(question) + "\n")
            told.flush()
            answer: dict[str, Any] = json.loads(heard.readline())
            assert "error" not in answer, answer["error"]
            return answer

        yield ask
        told.close()


def with_the_kit(stock: dict[str, Any], namer: str = "") -> dict[str, Any]:
    """Return what an app must have under the kit that has ``stock`` without it, and sets nothing of the safe."""
    tasks = {name: {**stock[name], **SAFE} for name in ("say", "other")}
    return {**stock, **tasks, "multiplier": 1, "exchange": stock["exchange"] if namer == "send" else "celerykit"}


@pytest.mark.parametrize("way", WAYS)
def test_a_task_named_in_a_receiver_is_safe_however_its_app_is_configured(ask: Ask, way: str) -> None:
    """In worker, beat and producer it has what the app sets, what the kit adds, and all else from Celery."""
    stock = ask(way, "schedule", "worker", "stock", LIMITS)
    for kit, role in [*((kit, "worker") for kit in KITS), ("loader", "beat"), ("first", "producer")]:
        assert ask(way, "schedule", role, kit, LIMITS) == with_the_kit(stock), (kit, role)


@pytest.mark.parametrize("way", WAYS)
def test_a_task_named_in_a_receiver_is_what_its_app_asks_for(ask: Ask, way: str) -> None:
    """An app that sets the opposite of what is safe gets it, in each way that it can be said."""
    for kit in KITS:
        told = ask(way, "schedule", "producer", kit, OPPOSITES)
        assert {told[task][name] for task in ("say", "other") for name in SAFE} == {False}, kit
        assert told["say"]["time_limit"] == 3600


@pytest.mark.parametrize("namer", NAMERS)
def test_a_task_is_safe_wherever_it_is_named(ask: Ask, namer: str) -> None:
    """In a receiver of any signal, in a lazy default, at import: by variable or by a line of code anywhere."""
    role = "beat" if namer == "beat_init" else "worker"
    stock = ask("update", namer, role, "stock", LIMITS)
    for kit in KITS:
        assert ask("update", namer, role, kit, LIMITS) == with_the_kit(stock, namer), kit
