"""How a process becomes Celery."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from celerykit import cli, launch
from celerykit.config import environment, settings
from celerykit.config.pool_kinds import PREFORK
from celerykit.errors import EX_CONFIG, ConfigurationError
from celerykit.process import Launch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Run

SECRET = "redis://celery:hunter2@redis/0"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo after each test what a launch does to the process's environment."""
    monkeypatch.setenv("REMAP_SIGTERM", "")


def launched(process: str, *arguments: str, **values: str) -> Launch:
    """Return the launch of a process that is told ``values``."""
    told = environment.Environment(values, dict.fromkeys(values, "environment"))
    made = Launch(process, "default", list(arguments), told, settings.from_environment(values))
    return replace(made, pool_class=made.requested_pool or PREFORK)


def prepared(*arguments: str, process: str = "worker", pool: str = "default", **environ: str) -> Launch:
    """Return the launch that comes of a whole environment."""
    told = {"CELERYKIT_CONFIG_DIR": "/nonexistent", "CELERY_APP": "proj", **environ}
    return launch.prepare(process, told, pool, arguments)[0]


def refused(*arguments: str, process: str = "worker", **environ: str) -> str:
    """Return the message with which a launch is refused."""
    with pytest.raises(ConfigurationError) as caught:
        prepared(*arguments, process=process, **environ)
    return str(caught.value)


def test_prefork_is_passed_by_the_name_that_no_app_overrides() -> None:
    """An app's own worker_pool does not replace the pool that the operator relies on."""
    assert launched("worker").argv == ["worker", "-P", "processes"]
    assert launched("worker", CELERY_WORKER_POOL="prefork").argv == ["worker", "-P", "processes"]


@pytest.mark.parametrize("pool", ["gevent", "threads", "solo"])
def test_the_pool_of_the_environment_goes_to_the_command_line(pool: str) -> None:
    """CELERY_WORKER_POOL=gevent is really patched, which Celery does from the command line alone."""
    assert launched("worker", CELERY_WORKER_POOL=pool).argv == ["worker", "-P", pool]


def test_threads_under_the_kit_can_change_their_number(python: Run) -> None:
    """Celery's own cannot; the command line stays what it is, and so do an operator's own pools."""
    ask = (
        "import os; from celery import concurrency as c; from celerykit import launch;"
        "launch.enter(launch.prepare('worker', os.environ, 'default', [])[0]);"
        "print(*(c.get_implementation(name) for name in ('threads', 'custom')))"
    )
    custom = "celery.concurrency.solo:TaskPool"
    told = {"CELERY_APP": "nothing", "CELERY_WORKER_POOL": "threads", "CELERY_CUSTOM_WORKER_POOL": custom}
    answer = python("-c", ask, environ=told)
    assert answer.stdout == (
        "<class 'celerykit.worker.threads.TaskPool'> <class 'celery.concurrency.solo.TaskPool'>\n"
    ), answer.stderr


@pytest.mark.parametrize("arguments", [["-P", "threads"], ["-Pthreads"], ["--pool=threads"], ["--pool", "threads"]])
def test_a_pool_in_the_arguments_wins(arguments: list[str]) -> None:
    """What follows '--' reaches Celery as it is, and the kit sees the pool in it."""
    ready = launched("worker", *arguments, "-c", "2", CELERY_WORKER_POOL="solo")
    assert ready.argv == ["worker", "-P", "threads", "-c", "2"]
    assert ready.pool_class == "threads"


def test_prefork_in_the_arguments_is_not_overridden_by_an_app() -> None:
    """Celery takes `-P prefork` for no choice, so it gets the alias that is one."""
    assert launched("worker", "-P", "prefork").argv == ["worker", "-P", "processes"]


def test_beat_and_flower_get_no_pool() -> None:
    """Options of a worker are none of beat's or Flower's."""
    assert launched("beat", "--pidfile=", CELERY_WORKER_POOL="solo").argv == ["beat", "--pidfile="]
    assert launched("flower").argv == ["flower"]


def test_a_worker_is_named_after_its_pool() -> None:
    """Two pools on one host never share a node name; a name of the operator's own stays."""
    assert prepared(pool="mail").environment.values["CELERY_WORKER_HOSTNAME"] == "mail@%h"
    own = prepared(CELERY_WORKER_HOSTNAME="w1@%h")
    assert own.environment.values["CELERY_WORKER_HOSTNAME"] == "w1@%h"


def test_a_worker_asks_no_others_when_it_starts() -> None:
    """It would wait a second for their answers; an operator who wants them says so."""
    assert prepared().environment.values["CELERY_WORKER_WITHOUT_MINGLE"] == "true"
    asked = prepared(CELERY_WORKER_WITHOUT_MINGLE="false")
    assert asked.environment.values["CELERY_WORKER_WITHOUT_MINGLE"] == "false"


def test_a_launch_without_an_app_is_refused() -> None:
    """CELERY_APP is the one thing that has no default."""
    assert "CELERY_APP (environment and env files): names no app" in refused(CELERY_APP="")


def test_an_app_s_own_loader_is_refused_with_the_way_out() -> None:
    """A second loader would leave out the safe defaults in silence."""
    message = refused(CELERY_LOADER="proj.loader:Loader")
    assert "CELERY_LOADER=proj.loader:Loader (environment)" in message
    assert "celerykit.configure(app)" in message
    assert prepared(CELERY_LOADER="celerykit.loader:Loader").process == "worker"


def test_an_unknown_pool_class_is_refused_with_those_there_are() -> None:
    """A misspelt CELERY_WORKER_POOL is answered with the nearest one."""
    message = refused(CELERY_WORKER_POOL="gevnt")
    assert message.startswith("CELERY_WORKER_POOL=gevnt (environment): no worker pool of Celery. Celery has ")
    assert "did you mean gevent?" in message
    assert "(arguments): no worker pool of Celery" in refused("-P", "gevnt")


def test_every_mistake_is_named_at_once(etc: Path) -> None:
    """A misspelt name, an unfit value and a missing app come in one answer."""
    (etc / "celery.env").write_text("CELERY_WORKER_QUEUE=a\nCELERY_WORKER_CONCURRENCY=many\n")
    message = refused(CELERY_APP="", CELERYKIT_CONFIG_DIR=str(etc))
    assert len(message.splitlines()) == 3


def test_children_ignore_a_term_to_the_whole_group() -> None:
    """A TERM to the process group, as supervisors send it, kills no running job of a worker."""
    assert prepared().environment.values["REMAP_SIGTERM"] == "SIGQUIT"
    assert "REMAP_SIGTERM" not in prepared(process="beat").environment.values


def test_nothing_secret_is_on_the_command_line(tmp_path: Path) -> None:
    """The command line, which every user of the machine can read, has no password."""
    secret = tmp_path / "url"
    secret.write_text(SECRET)
    ready = prepared(CELERY_BROKER_URL_FILE=str(secret), CELERY_RESULT_BACKEND=SECRET)
    assert ready.environment.values["CELERY_BROKER_URL"] == SECRET
    assert "hunter2" not in " ".join(ready.argv)


def test_an_explanation_masks_secrets_in_the_arguments_too() -> None:
    """Whoever passes a URL by hand does not find it in a log of --explain."""
    text = "\n".join(launched("worker", "-b", SECRET, "--result-backend=" + SECRET, CELERY_BROKER_URL=SECRET).explain())
    assert "hunter2" not in text
    assert "-b redis://celery:***@redis/0 --result-backend=redis://celery:***@redis/0" in text
    *_, last = launched("flower", "--basic-auth=admin:hunter2").explain()
    assert last == "celery flower --basic-auth=***  # arguments"


def test_explain_says_what_is_resolved_and_from_where(celerykit: Run, tmp_path: Path, etc: Path) -> None:
    """`celerykit worker mail --explain` shows each value with its source, starts nothing and ends with 0."""
    secret = tmp_path / "url"
    secret.write_text(SECRET + "\n")
    (etc / "celery.env").write_text("CELERY_APP=nothing\n# gevent needs no processes\n")
    (etc / "worker-mail.env").write_text("CELERY_WORKER_POOL=gevent\n")
    answer = celerykit(
        "worker",
        "mail",
        "--explain",
        "--",
        "-E",
        CELERY_BROKER_URL="",
        CELERY_BROKER_URL_FILE=str(secret),
        CELERY_WORKER_QUEUS="a",
    )
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert f"CELERY_APP=nothing  # {etc}/celery.env:1" in lines
    assert f"CELERY_WORKER_POOL=gevent  # {etc}/worker-mail.env:1" in lines
    assert (
        f"CELERY_BROKER_URL=redis://celery:***@redis/0  # {secret}, named by CELERY_BROKER_URL_FILE (environment)"
        in lines
    )
    assert "CELERY_WORKER_HOSTNAME=mail@%h  # celerykit" in lines
    assert lines[-1] == "celery worker -P gevent -E  # arguments"
    assert "CELERYKIT_LONGEST_JOB=  # default" in lines
    assert any(line.startswith("task_acks_late=True  # celerykit, unless the app sets it: ") for line in lines)
    assert "worker_prefetch_multiplier=4  # tuned: green pools stall below it" in lines
    assert answer.stderr.startswith("celerykit: warning: CELERY_WORKER_QUEUS=a (environment): ")
    assert "hunter2" not in answer.stdout + answer.stderr


def test_explain_of_an_app_that_does_not_import_ends_as_its_worker_would(celerykit: Run) -> None:
    """With exit code 78 and the reason, beside all that is known without the app."""
    answer = celerykit("worker", "--explain", CELERY_APP="broken")
    assert answer.returncode == EX_CONFIG
    assert "CELERY_APP=broken (environment): does not import: " in answer.stderr
    lines = answer.stdout.splitlines()
    assert "CELERY_APP=broken  # environment" in lines
    assert lines[-1] == "celery worker -P processes  # arguments"


def test_a_refused_start_has_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An init system can tell a wrong configuration (78) from a crash, and the log has a line a mistake."""
    monkeypatch.setenv("APP", "other")
    monkeypatch.setenv("LOADER", "other")
    assert cli.main(["worker"]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "celerykit: error: APP=other",
        "celerykit: error: LOADER=other",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "worker mail -A nothing -c 4 -Q a,b -l info --explain",
        "worker mail --explain -- -A nothing -c 4 -Q a,b -l info",
        "-A nothing worker mail --explain -c 4 -Q a,b -l info",
    ],
)
def test_a_command_line_of_celery_s_works_as_it_is(celerykit: Run, line: str) -> None:
    """What is typed after `celery` can be typed after `celerykit`, with or without `--`."""
    answer = celerykit(*line.split())
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert "CELERY_APP=nothing  # arguments" in lines
    assert "CELERY_WORKER_HOSTNAME=mail@%h  # celerykit" in lines
    assert any(line.startswith("worker_concurrency=4  # arguments") for line in lines)
    assert lines[-1] == "celery worker -P processes -c 4 -Q a,b -l info  # arguments"


def test_what_is_typed_wins_over_the_environment(tmp_path: Path) -> None:
    """As in Celery; a file that holds another value is not read for it."""
    told = prepared("-A", "mine", "-b", "redis://other/0", CELERY_BROKER_URL_FILE=str(tmp_path / "none")).environment
    assert (told.values["CELERY_APP"], told.values["CELERY_BROKER_URL"]) == ("mine", "redis://other/0")
    assert told.sources["CELERY_BROKER_URL"] == "arguments"


def test_words_that_celery_does_not_take_are_answered_with_what_it_takes(
    celerykit: Run,
) -> None:
    """A misspelt option, a value of another type and a pool in the wrong place, all before anything runs."""
    answers = {
        "--concurency 4": "--concurency (arguments): no option of 'celery worker' or the kit. "
        "Did you mean --concurrency?",
        "-c many": "--concurrency=many (arguments): neither a whole number nor 'auto'. ",
        "-c 4 mail": "mail (arguments): neither an option nor an option's value. "
        "Name the pool first: celerykit worker POOL -c 4.",
    }
    from celery import Celery

    from celerykit.config import command_line

    for words, message in answers.items():
        found = "\n".join(map(str, command_line.unfit("worker", words.split(), Celery())))
        assert found.startswith(message)
    answer = celerykit("worker", "-A", "nothing", "--concurency", "4")
    assert (answer.returncode, answer.stderr) == (78, f"celerykit: error: {answers['--concurency 4']}\n")


def test_check_takes_no_celery_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Options after '--' that nothing would read are refused."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["check", "--", "-c", "2"])
    assert caught.value.code == 2
    assert "'check' takes no Celery options" in capsys.readouterr().err


@pytest.mark.parametrize(("process", "wanted"), [("worker", "default"), ("beat", "mail")])
def test_an_app_is_searched_in_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, process: str, wanted: str
) -> None:
    """A project starts from its own folder, and its parts can ask which pool they are in."""
    import os
    import sys

    monkeypatch.setattr(sys, "path", ["elsewhere"])
    monkeypatch.setattr(os, "environ", dict(os.environ))
    launch.enter(Launch(process, wanted, [], environment.Environment({"A": "1"}, {}), settings.Settings()))
    assert sys.path[0] == os.getcwd()
    assert (os.environ["CELERYKIT_POOL"], os.environ["CELERY_LOADER"]) == (wanted, "celerykit.loader:Loader")
    assert {name: os.environ.get(name) for name in ("A", "PATH")} == {"A": "1", "PATH": None}


def test_a_working_directory_is_entered_before_the_app_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CELERY_WORKDIR, or CELERYD_CHDIR of an old file: the app is imported from there."""
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    launch.enter(launched("worker", CELERY_WORKDIR=str(tmp_path)))
    assert sys.path[0] == str(tmp_path)


def test_a_working_directory_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with what the system says of it."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(
        ConfigurationError, match=r"CELERY_WORKDIR=/none .environment.: cannot be entered: No such file"
    ):
        launch.enter(launched("worker", CELERY_WORKDIR="/none"))


def test_flower_that_is_not_installed_is_named(python: Run) -> None:
    """Celery says that it knows no such command, and asks whether a worker was meant."""
    code = "import sys; sys.modules['flower'] = None; from celerykit import cli; sys.exit(cli.main(['flower']))"
    answer = python("-c", code, environ={"CELERY_APP": "nothing"})
    assert (answer.returncode, answer.stderr.count("\n")) == (78, 1), answer.stderr
    assert "Install celerykit[flower]" in answer.stderr


def test_flower_is_on_this_machine_only_unless_it_is_told_otherwise() -> None:
    """Who starts it without a word about addresses opens it to nobody else."""
    assert prepared(process="flower").environment.values["FLOWER_ADDRESS"] == "127.0.0.1"
    assert prepared(process="flower", FLOWER_ADDRESS="0.0.0.0").environment.values["FLOWER_ADDRESS"] == "0.0.0.0"
