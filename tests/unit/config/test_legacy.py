"""What people have in ``/etc/default/celeryd`` and ``/etc/conf.d/celery``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celerykit.config import environment, legacy, option_names
from celerykit.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def told(
    etc: Path, text: str, process: str = "worker", pool: str = "w1", file: str = "default/celeryd"
) -> dict[str, str]:
    """Return what a process is told by such a file."""
    path = etc / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return {line.name: line.value for line in legacy.read(etc, process, pool)}


def refused(etc: Path, text: str, process: str = "worker") -> str:
    """Return the message with which it is refused."""
    with pytest.raises(ConfigurationError) as caught:
        told(etc, text, process)
    return str(caught.value)


def test_options_become_the_variables_of_celery_s_own_command_line(tmp_path: Path) -> None:
    """CELERYD_OPTS in each way of writing an option, as Celery's own documentation has it."""
    text = 'CELERYD_OPTS="--time-limit=300 -c 8 -Qhi,lo --max-tasks-per-child 100 -E --pool=threads"\n'
    assert told(tmp_path, text) == {
        "CELERY_WORKER_TIME_LIMIT": "300",
        "CELERY_WORKER_CONCURRENCY": "8",
        "CELERY_WORKER_QUEUES": "hi,lo",
        "CELERY_WORKER_MAX_TASKS_PER_CHILD": "100",
        "CELERY_WORKER_TASK_EVENTS": "true",
        "CELERY_WORKER_POOL": "threads",
    }


def test_options_of_one_node_go_to_its_pool_alone(tmp_path: Path) -> None:
    """What `celery multi` gives to a node wins there over what all nodes get, wherever it stands."""
    text = 'CELERYD_OPTS="-c:w1 3 --concurrency=8 -Q:w2,w3 mail"\n'
    concurrency, queues = "CELERY_WORKER_CONCURRENCY", "CELERY_WORKER_QUEUES"
    assert told(tmp_path, text, pool="w1") == {concurrency: "3"}
    assert told(tmp_path, text, pool="w2") == {concurrency: "8", queues: "mail"}


def test_the_other_variables_have_their_meaning(tmp_path: Path) -> None:
    """App, folder, log level and exported variables of the app's own; each process gets its own."""
    text = (
        'CELERY_APP="proj"  # the app\nexport DJANGO_SETTINGS_MODULE="proj.settings"\nCELERYD_CHDIR=/opt/proj/\n'
        'CELERYD_LOG_LEVEL=INFO\nCELERYD_USER="celery"\nCELERYBEAT_OPTS="--schedule=/var/lib/celery/s"\n'
    )
    shared = {"CELERY_APP": "proj", "DJANGO_SETTINGS_MODULE": "proj.settings"}
    assert told(tmp_path, text) == {
        **shared,
        "CELERY_WORKDIR": "/opt/proj/",
        "CELERY_WORKER_LOGLEVEL": "INFO",
    }
    assert told(tmp_path, text, "beat") == {**shared, "CELERY_BEAT_SCHEDULE": "/var/lib/celery/s"}


def test_a_line_goes_on_after_a_backslash(tmp_path: Path) -> None:
    """Celery's documentation breaks long options so, also in /etc/conf.d/celery."""
    text = 'CELERYD_OPTS="--time-limit=300 \\\n  --concurrency=8"\n'
    assert told(tmp_path, text, file="conf.d/celery")["CELERY_WORKER_CONCURRENCY"] == "8"


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ('CELERY_BIN="/usr/bin/celery"', "the virtualenv"),
        ('CELERYD_PID_FILE="/var/run/celery/%n.pid"', "pid file"),
        ('CELERYD_LOG_FILE="/var/log/celery/%n%I.log"', "standard error"),
        ("CELERY_CREATE_DIRS=1", "at each start"),
        ("CELERYD_MULTI=multi", "process of its own"),
        ("CELERYD_USER=www-data", "as user celery"),
        ('CELERYD_OPTS="--detach"', "background"),
        ('CELERYD_OPTS="-f /var/log/x.log"', "standard error"),
        ("CELERYD_TYPO=1", "remove the line"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(tmp_path: Path, line: str, remedy: str) -> None:
    """With the file, the line, and what to do; nobody is to rely on a line that nothing reads."""
    message = refused(tmp_path, f"# head\n{line}\n")
    assert line.partition("=")[0] in message
    assert f"{tmp_path}/default/celeryd:2" in message
    assert remedy.removeprefix("the ") in message


@pytest.mark.parametrize("line", ["CELERYD_OPTS=$OPTS", "CELERY_APP=`cat app`", ". /etc/other", 'CELERY_APP="open'])
def test_what_only_a_shell_can_read_is_refused(tmp_path: Path, line: str) -> None:
    """The file is not run: a value that must be computed is named with its line."""
    assert f"{tmp_path}/default/celeryd:1" in refused(tmp_path, f"{line}\n")


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    """One look is enough to mend a file."""
    message = refused(tmp_path, "CELERY_BIN=/usr/bin/celery\nCELERYD_PID_FILE=/x\n")
    assert "CELERY_BIN" in message and "CELERYD_PID_FILE" in message


@pytest.mark.parametrize(
    ("given", "pools"), [("w1 w2", ["w1", "w2"]), ("3", ["celery1", "celery2", "celery3"]), ("", [])]
)
def test_nodes_are_the_pools_where_no_pool_has_a_file(tmp_path: Path, given: str, pools: list[str]) -> None:
    """CELERYD_NODES as names or as their number; env files of pools take its place."""
    told(tmp_path, f'CELERYD_NODES="{given}"\n')
    etc = tmp_path / "celery"
    etc.mkdir()
    assert environment.pools(etc) == pools
    (etc / "worker-mail.env").write_text("")
    assert environment.pools(etc) == ["mail"]


def test_the_kit_s_own_files_win(tmp_path: Path) -> None:
    """What is written in /etc/celery holds over what is left from before."""
    etc = tmp_path / "celery"
    etc.mkdir()
    (etc / "celery.env").write_text("CELERY_APP=new\n")
    told(tmp_path, "CELERY_APP=old\nCELERYD_NODES=default\n")
    resolved = environment.resolve("worker", {"CELERYKIT_CONFIG_DIR": str(etc)})
    assert resolved.values["CELERY_APP"] == "new"


def test_every_short_option_is_celery_s(tmp_path: Path) -> None:
    """Each letter means what the installed `celery worker`, `celery beat` or `celery` means by it."""
    from celery.bin.beat import beat
    from celery.bin.celery import celery
    from celery.bin.worker import worker

    params = [*worker.params, *beat.params, *celery.params]
    known = {
        letter: {word for param in params if letter in param.opts for word in param.opts} for letter in legacy.SHORT
    }
    assert all(f"--{long}" in known[letter] for letter, long in legacy.SHORT.items())
    variables = {f"CELERY_WORKER_{long}".upper().replace("-", "_") for long in legacy.SHORT.values()}
    unknown = {name for name in variables if not option_names.is_known(name)}
    assert unknown <= {"CELERY_WORKER_APP", "CELERY_WORKER_SCHEDULE"}
