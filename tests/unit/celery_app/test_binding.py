"""What a task has from its app's settings once it is bound, wherever the app names it and however it is configured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task

import celerykit
from celerykit.checks import job_loss
from celerykit.compat import app_settings
from celerykit.config.settings import Settings
from tests.rig.since import since
from tests.unit.conftest import APPS, SEARCHED

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
        "PYTHONPATH": SEARCHED,
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
    stock = with_the_kit(ask(way, "schedule", "worker", "stock", LIMITS))
    for kit in ("loader", "first", "bound"):
        assert ask(way, "schedule", "worker", kit, LIMITS) == stock, kit
    for role in ("beat", "producer"):
        told = ask(way, "schedule", role, "loader", LIMITS)
        assert (told["say"], told["other"]) == (stock["say"], stock["other"]), role


@pytest.mark.parametrize("way", WAYS)
def test_a_task_named_in_a_receiver_is_what_its_app_asks_for(ask: Ask, way: str) -> None:
    """An app that sets the opposite of what is safe gets it, in each way that it can be said."""
    for kit in ("loader", "bound"):
        told = ask(way, "schedule", "producer", kit, OPPOSITES)
        assert {told[task][name] for task in ("say", "other") for name in SAFE} == {False}, kit
        assert told["say"].get("time_limit") is None


@pytest.mark.parametrize("namer", NAMERS)
def test_a_task_is_safe_wherever_it_is_named(ask: Ask, namer: str) -> None:
    """In a receiver of any signal, in a lazy default, at import: by variable or by a line of code anywhere."""
    role = "beat" if namer == "beat_init" else "worker"
    stock = ask("update", namer, role, "stock", LIMITS)
    for kit in KITS:
        assert ask("update", namer, role, kit, LIMITS) == with_the_kit(stock, namer), kit


def made(**conf: Any) -> Celery:
    """Return an app that is configured already, by Celery alone."""
    app = Celery("made", set_as_current=False, broker="amqp://")
    app.conf.update(conf)
    assert app.conf.timezone is None
    return app


def bound(app: Celery, **options: Any) -> Any:
    """Return a task of an app that is bound already."""

    @app.task(name="work", shared=False, **options)
    def work() -> None:
        """Do nothing."""

    assert work.acks_late is not None
    return work


def findings(app: Celery) -> list[Finding]:
    """Return what the check finds in an app."""
    app.finalize()
    return list(job_loss.judge(app, Settings()))


class Early(Task):  # type: ignore[misc]
    """A task that says itself when it is acknowledged."""

    acks_late = False
    reject_on_worker_lost = False


@pytest.mark.parametrize("options", [{"acks_late": False, "reject_on_worker_lost": False}, {"base": Early}])
def test_a_task_s_own_values_stay_when_the_kit_comes_late(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """What the decorator or a base class says holds, though the task was bound before; the rest gets safe."""
    monkeypatch.setenv("CELERYKIT_LONGEST_JOB", "7200")
    app = made()
    work = bound(app, **options)
    celerykit.configure(app)
    assert (work.acks_late, work.reject_on_worker_lost, app_settings.time_limit(work)) == (False, False, 7200)
    assert {(finding.variable, finding.remedy) for finding in findings(app)} == {
        (name, f"Drop {name}= there") for name in SAFE
    }


@pytest.mark.parametrize(("whose", "options"), [("work", {}), ("*", {}), ("work", {"acks_late": True})])
def test_annotations_stay_when_the_kit_comes_late(whose: str, options: dict[str, Any]) -> None:
    """task_annotations are the app's own word, and the check names them, not the task."""
    app = made(task_annotations={whose: {"acks_late": False}})
    work = bound(app, **options)
    celerykit.configure(app)
    assert (work.acks_late, work.reject_on_worker_lost) == (False, True)
    # Tasks that other tests share are annotated, too.
    (finding,) = [finding for finding in findings(app) if "task work" in finding.problem]
    assert (finding.variable, finding.value) == ("task_annotations", "acks_late=False")
    assert finding.remedy == "Drop acks_late from the app's task_annotations"


def test_a_base_class_that_was_bound_is_mended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base that somebody has looked at has Celery's defaults, and its tasks have them from there."""
    monkeypatch.setenv("CELERYKIT_LONGEST_JOB", "7200")
    app = made()

    class Base(app.Task):  # type: ignore[misc,name-defined]
        """A base of its own."""

    assert Base.app is app
    work = bound(app, base=Base)
    assert work.acks_late is False
    celerykit.configure(app)
    assert (work.acks_late, work.reject_on_worker_lost, app_settings.time_limit(work)) == (True, True, 7200)


def test_a_task_made_as_a_class_is_mended_too() -> None:
    """It keeps what its body says, and gets what it leaves out."""
    app = made()

    class Work(app.Task):  # type: ignore[misc,name-defined]
        """Nothing."""

        name = "work"
        reject_on_worker_lost = False

    work = app.register_task(Work)
    assert (work.acks_late, work.reject_on_worker_lost) == (False, False)
    celerykit.configure(app)
    assert (work.acks_late, work.reject_on_worker_lost) == (True, False)


def test_a_value_that_is_assigned_to_a_task_stays() -> None:
    """Whoever assigns to the task itself means it."""
    app = made()
    work = bound(app)
    work.acks_late = False
    celerykit.configure(app)
    assert work.acks_late is False
    assert [finding.remedy for finding in findings(app)] == ["Drop acks_late= there"]


def test_the_check_names_what_was_set_too_late() -> None:
    """A task that was bound before its app's own setting is not blamed on the task's file."""
    app = Celery("made", set_as_current=False, broker="amqp://")
    celerykit.configure(app)
    app.conf.task_acks_late = False
    bound(app)
    app.conf.task_acks_late = True
    (finding,) = findings(app)
    assert (finding.variable, finding.value) == ("task_acks_late", "False")
    assert finding.problem.startswith("a job of task work is acknowledged when it starts")
    assert finding.remedy.startswith("Set task_acks_late before anything names the task")


@since("exclusive control queues")
def test_the_check_blames_no_setting_of_an_app_that_sets_nothing() -> None:
    """Without the layer it is the layer that is missing, and nothing else is to be dropped."""
    app = made()
    bound(app)
    assert [finding.variable for finding in findings(app)] == ["loader"]


def test_what_was_made_of_the_settings_is_made_anew() -> None:
    """Queues, pools and backend that an app has used before the kit comes follow the kit's settings."""
    app = made()
    before = (app.amqp.queues["celery"], app.pool, app.control, app.backend)
    celerykit.configure(app)
    after = (app.amqp.queues["celery"], app.pool, app.control, app.backend)
    assert not any(old is new for old, new in zip(before, after, strict=True))
    assert after[0].exchange.name == "celerykit"
    assert after[0].queue_arguments == {"x-queue-type": "quorum"}
