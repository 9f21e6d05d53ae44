"""The judgement of an app for job loss."""

from __future__ import annotations

import inspect
import json
import re
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task
from kombu import Exchange, Queue
from kombu.common import Broadcast

import celerykit as kit
from celerykit.checks import job_loss
from celerykit.config.settings import Settings
from celerykit.errors import EX_CONFIG
from tests.rig.since import since
from tests.unit.conftest import SEARCHED

if TYPE_CHECKING:
    from pathlib import Path

    from celerykit.errors import Finding
    from tests.unit.conftest import Run


def judged(own: Settings | None = None, task: dict[str, Any] | None = None, **conf: Any) -> list[Finding]:
    """Judge an app with a task under the kit's defaults and its own settings."""
    app = Celery("judged", set_as_current=False, broker="redis://127.0.0.1:1/0")
    kit.configure(app)
    app.conf.update(conf)

    @app.task(name="work", shared=False, **(task or {}))
    def work() -> None:
        """Do nothing."""

    app.finalize()
    return list(job_loss.judge(app, own or Settings()))


def variables(findings: list[Finding]) -> list[str]:
    """Return what is found, by name."""
    return [finding.variable for finding in findings]


def test_an_app_that_sets_nothing_passes() -> None:
    """The safe defaults are safe in the eyes of the check."""
    assert judged() == []


BY_ENDING = since("acks by ending")


@pytest.mark.parametrize(
    ("conf", "variable", "remedy"),
    [
        ({"task_acks_late": False}, "task_acks_late", "Drop task_acks_late from the app's settings"),
        ({"task_reject_on_worker_lost": False}, "task_reject_on_worker_lost", "Drop task_reject_on_worker_lost"),
        pytest.param(
            {"task_acks_on_failure": False}, "task_acks_on_failure", "autoretry_for", marks=since("acks by ending")
        ),
        pytest.param(
            {"task_acks_on_timeout": False}, "task_acks_on_timeout", "autoretry_for", marks=since("acks by ending")
        ),
        ({"accept_content": ["json", "pickle"]}, "accept_content", "Accept json only"),
        ({"result_accept_content": ["json", "pickle"]}, "result_accept_content", "Accept json only"),
        ({"task_serializer": "pickle"}, "task_serializer", "Use json"),
        ({"result_serializer": "pickle"}, "result_serializer", "Use json"),
        ({"task_serializer": "yaml"}, "task_serializer", "Add yaml to accept_content, which is json"),
        ({"result_accept_content": ["yaml"]}, "result_serializer", "Add json to result_accept_content"),
        ({"broker_url": "rediss://h/0?ssl_cert_reqs=none"}, "broker_use_ssl", "Leave broker_use_ssl"),
        (
            {"broker_url": "rediss://h/0", "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_NONE}},
            "broker_use_ssl",
            "Leave broker_use_ssl",
        ),
        (
            {"broker_url": "redis://h/0;redis://i/0", "broker_use_ssl": {"ssl_check_hostname": False}},
            "broker_use_ssl",
            "Leave broker_use_ssl",
        ),
        (
            {"broker_write_url": "amqps://h//", "broker_use_ssl": {"cert_reqs": ssl.CERT_NONE}},
            "broker_use_ssl",
            "Leave broker_use_ssl",
        ),
        (
            {"broker_url": "amqps://h//", "broker_use_ssl": {"context": {"cafile": "/own.pem"}}},
            "broker_use_ssl",
            "Leave broker_use_ssl",
        ),
        ({"result_backend": "rediss://h/0?ssl_cert_reqs=none"}, "redis_backend_use_ssl", "Leave redis_backend_use_ssl"),
        (
            {"broker_url": "sqs://", "broker_transport_options": {"visibility_timeout": 60}},
            "visibility_timeout",
            "set CELERYKIT_LONGEST_JOB to at least 3600",
        ),
        ({"task_always_eager": True}, "task_always_eager", "Leave it out"),
        ({"task_default_delivery_mode": 1}, "task_default_delivery_mode", "Leave it out"),
        ({"task_default_delivery_mode": "transient"}, "task_default_delivery_mode", "Leave it out"),
        ({"task_queues": [Queue("a", durable=False)]}, "task_queues", "Make the queue durable"),
        (
            {"task_queues": [Queue("a", Exchange("a", delivery_mode="transient"))]},
            "task_queues",
            "delivery mode persistent",
        ),
        ({"task_queues": [Queue("celery"), Broadcast("news")]}, "task_queues", "a queue of another kind"),
        ({"result_backend": "redis://h/1", "result_expires": None}, "result_expires", "Set it to some seconds"),
    ],
)
def test_what_loses_jobs_or_gives_them_away_is_found(conf: dict[str, Any], variable: str, remedy: str) -> None:
    """Each such setting is named once, with the way to mend it."""
    findings = judged(**conf)
    assert variable in variables(findings)
    assert [finding for finding in findings if finding.variable == variable and remedy in finding.remedy]
    assert set(variables(findings)) == {variable}


@pytest.mark.parametrize(
    "conf",
    [
        {"broker_url": "rediss://h/0", "result_backend": "rediss://h/1"},
        {"broker_url": "amqps://h//;amqps://i//"},
        {"broker_url": "amqps://h//", "broker_use_ssl": {"context": {"cafile": "/own.pem", "check_hostname": True}}},
        {"broker_url": "rediss://h/0", "broker_use_ssl": True},
        {"broker_url": "rediss://h/0?ssl_cert_reqs=required"},
        {"broker_url": "rediss://h/0?ssl_cert_reqs=CERT_REQUIRED"},
        {"broker_url": "rediss://h/0", "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED}},
        {"broker_transport_options": {"visibility_timeout": 60}},
        {"broker_url": "sqs://", "broker_transport_options": {"visibility_timeout": 7200}},
        {"result_expires": None},
        {"result_backend": "db+mysql://h/x", "result_expires": None},
        {"task_queues": [Queue("a"), Queue("b")]},
        {"task_serializer": "yaml", "accept_content": ["json", "application/x-yaml"]},
    ],
)
def test_what_is_safe_is_not_found(conf: dict[str, Any]) -> None:
    """A check that cries wolf is switched off."""
    assert judged(**conf) == []


@pytest.mark.parametrize("attribute", ["acks_late", "reject_on_worker_lost"])
def test_one_unsafe_task_is_named(attribute: str) -> None:
    """A task's own argument is found where it stands, and the app's settings are not blamed."""
    (finding,) = judged(task={attribute: False})
    assert (finding.variable, finding.value) == (attribute, "False")
    assert re.fullmatch(rf"task work, {re.escape(__file__)}:\d+", finding.source)
    assert finding.remedy == f"Drop {attribute}= there"


class Hasty(Task):  # type: ignore[misc]
    """A class of tasks with an unsafe attribute."""

    acks_late = False


def test_an_unsafe_class_of_tasks_is_named_where_it_is_written() -> None:
    """The line is the class's, and not that of a task that it is the base of."""
    (finding,) = judged(task={"base": Hasty})
    assert finding.source == f"task work, {__file__}:{inspect.getsourcelines(Hasty)[1]}"


def test_a_task_that_was_named_too_early_is_found_at_its_definition() -> None:
    """It keeps the unsafe value that the app had when something named it."""
    app = Celery("hasty", set_as_current=False, broker="redis://127.0.0.1:1/0")
    kit.configure(app)
    app.conf.task_acks_late = False

    @app.task(name="work", shared=False)
    def work() -> None:
        """Do nothing."""

    assert not work.acks_late, "looking at it binds it"
    app.conf.task_acks_late = True
    (finding,) = job_loss.judge(app, Settings())
    assert finding.variable == "task_acks_late"
    assert finding.source == f"{__file__}:{work.run.__code__.co_firstlineno}"


def test_a_task_s_own_time_limit_counts() -> None:
    """A task that may run longer than the visibility timeout would run twice at once, without the kit's transport."""
    (finding,) = judged(Settings(redis_transport="stock"), task={"time_limit": 9000})
    assert (finding.variable, finding.value) == ("visibility_timeout", "3610")
    assert "the time limit of task work (9000 s)" in finding.problem


def test_at_most_once_is_a_choice_and_no_finding() -> None:
    """Early acknowledgement is what such a pool promises."""
    own = Settings(delivery="at-most-once")
    assert judged(own, task_acks_late=False, task_reject_on_worker_lost=False) == []


def test_every_pool_with_a_file_is_judged(etc: Path, celerykit: Run) -> None:
    """`celerykit check` judges each pool under its own environment, answers in JSON and ends with 1."""
    (etc / "worker-good.env").write_text("CELERY_APP=nothing\n")
    (etc / "worker-bad.env").write_text("CELERY_APP=lossy\nCELERY_BROKER_URL=rediss://celery:hunter2@127.0.0.1:1/0\n")
    answer = celerykit("check", "--format", "json", CELERY_BROKER_URL="")
    assert answer.returncode == 1, answer.stderr
    findings = json.loads(answer.stdout)
    assert {finding["variable"] for finding in findings} == {
        "task_acks_late",
        "task_reject_on_worker_lost",
        "accept_content",
        "broker_use_ssl",
        "redis_backend_use_ssl",
        "task_default_delivery_mode",
        "result_expires",
    }
    assert {finding["source"].rpartition("/")[2] for finding in findings} == {"lossy.py"}
    assert all(finding["problem"] and finding["remedy"] for finding in findings)
    assert "hunter2" not in answer.stdout


@pytest.mark.parametrize("pools", ["good", "good other"])
def test_a_client_that_kombu_refuses_ends_the_check_as_a_worker(
    etc: Path, tmp_path: Path, celerykit: Run, pools: str
) -> None:
    """Exit code 78 tells a program that nothing can run here; findings that only cost jobs end with 1."""
    for package in ("redis-5.2.1", "kombu-5.7.0"):
        name, _, version = package.partition("-")
        (tmp_path / f"{package}.dist-info").mkdir()
        (tmp_path / f"{package}.dist-info/METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    for pool in pools.split():
        (etc / f"worker-{pool}.env").write_text("CELERY_APP=nothing\n")
    answer = celerykit("check", PYTHONPATH=f"{tmp_path}:{SEARCHED}")
    assert answer.returncode == EX_CONFIG, answer.stdout + answer.stderr
    (line,) = answer.stdout.splitlines()
    assert line.startswith("redis=5.2.1 (installed in ") and "Require redis>=6.1" in line


def test_celery_s_autoscaler_is_refused_beside_threads(celerykit: Run) -> None:
    """By name and with the remedy; beside children it is Celery's own affair."""
    told = {"CELERY_APP": "nothing", "CELERY_WORKER_AUTOSCALE": "8,2"}
    answer = celerykit("check", CELERY_WORKER_POOL="threads", **told)
    assert answer.returncode == 1
    assert "CELERY_WORKER_AUTOSCALE=8,2 (environment)" in answer.stdout + answer.stderr
    assert "Drop it: " in answer.stdout + answer.stderr
    assert celerykit("check", **told).returncode == 0


def test_a_safe_app_passes_whatever_it_prints(celerykit: Run) -> None:
    """Exit code 0, and an answer that a program can read although the app prints while it is imported."""
    answer = celerykit("check", "--format", "json", CELERY_APP="noisy")
    assert (answer.returncode, json.loads(answer.stdout)) == (0, [])


def test_an_app_with_a_loader_of_its_own_is_found(celerykit: Run) -> None:
    """Such an app has none of the safe defaults, and the answer says how to get them."""
    answer = celerykit("check", CELERY_APP="own_loader")
    assert answer.returncode == 1
    assert answer.stdout.startswith("loader=celery.loaders.app.AppLoader (")
    assert "Drop loader=, or call celerykit.configure(app)" in answer.stdout


@pytest.mark.parametrize("app", ["broken", "broken_include"])
def test_an_app_that_does_not_import_is_a_finding(celerykit: Run, app: str) -> None:
    """The app itself, or a module that it includes: a line with the reason and the file, and no traceback."""
    answer = celerykit("check", CELERY_APP=app)
    assert answer.returncode == 1
    (line,) = answer.stdout.splitlines()
    assert line.startswith(f"CELERY_APP={app} (environment): does not import: ")
    assert "No module named 'no_such_module'" in line
    assert "broken.py:3" in line
    assert "Traceback" not in answer.stderr


def test_wrong_settings_are_found_without_an_app(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What would keep a worker from starting is what the check says, with file and line, and exit code 1."""
    from celerykit import cli

    (etc / "celery.env").write_text("CELERY_APP=nothing\nCELERYKIT_LONGEST_JOB=1h\n")
    assert cli.main(["check", "default"]) == 1
    assert f"CELERYKIT_LONGEST_JOB=1h ({etc}/celery.env:2): not a positive number" in capsys.readouterr().out


def test_a_queue_that_no_pool_consumes_is_named_with_the_tasks_that_go_there(celerykit: Run, etc: Path) -> None:
    """Their jobs would wait for ever; a container that is one pool of several cannot know, and says nothing."""
    answer = celerykit("check", CELERY_APP="routed_away")
    assert answer.returncode == 1
    assert answer.stdout.startswith("task_routes=mails (")
    assert "no pool of this machine consumes that queue: jobs of mail.send wait in it" in answer.stdout
    assert celerykit("check", CELERY_APP="routed_away", CELERY_WORKER_QUEUES="celery").returncode == 0
    (etc / "celery.env").write_text("CELERY_APP=routed_away\n")
    (etc / "worker-default.env").write_text("")
    (etc / "worker-mails.env").write_text("CELERY_WORKER_QUEUES=mails,other\n")
    answer = celerykit("check", "default")
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
