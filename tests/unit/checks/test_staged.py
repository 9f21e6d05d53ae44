"""The judgement of env files that are not in place yet, by real processes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from celerykit.checks import dropins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Judge = Callable[..., subprocess.CompletedProcess[str]]

APPS = Path(__file__).parents[2] / "apps"
CELERY_ENV = "CELERY_APP=nothing\nCELERY_BROKER_URL_FILE=/etc/celery/broker-url\n"
ORIGINS = {"celery.env": "celery_environment", "worker-default.env": "pool default", "broker-url": "celery_broker_url"}


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Return a function that judges env files, given by name, as the role does."""

    def run(*processes: str, connect: bool = False, **told: Any) -> Any:
        units, origins = told.pop("units", {}), told.pop("origins", ORIGINS)
        files: dict[str, str] = told
        texts = {"celery.env": CELERY_ENV, "broker-url": "redis://celery:hunter2@127.0.0.1:1/0\n"}
        texts |= {f"worker-{name}.env": text for name, text in files.items() if name != "shared"}
        if "shared" in files:
            texts["celery.env"] = files["shared"]
        asked = [name.split() for name in processes or ("worker default",)]
        document = {"folder": "/etc/celery", "files": texts, "processes": asked, "connect": connect}
        # Neither what the caller has set for itself, nor where the test runs, is what the units will see.
        environ = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "CELERY_APP": "of_the_caller"}
        command = [sys.executable, "-m", "celerykit", "check", "--candidate"]
        text = json.dumps({**document, "units": units, "origins": origins})
        return subprocess.run(
            command, input=text, env=environ, cwd=APPS, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture
def server() -> Iterator[Callable[[bytes], int]]:
    """Return a function that starts a server which gives each client the same answer to everything."""
    sockets = []

    def start(answer: bytes) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                sockets.append(connection)
                while connection.recv(65536):
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return int(listening.getsockname()[1])

    yield start
    for item in sockets:
        item.close()


def test_what_can_run_passes_and_leaves_nothing(judge: Judge, tmp_path: Path) -> None:
    """Exit code 0, not a word, and no secret in a temporary folder."""
    answer = judge("worker default", "beat", default="CELERY_WORKER_CONCURRENCY=2\n")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_every_process_that_cannot_run_is_named(judge: Judge) -> None:
    """Each wrong line with the file where it will be, the variable that it comes from, and the nearest name."""
    answer = judge("worker default", "worker b", default="CELERY_WORKER_CONCURENCY=2\n", b="CELERY_WORKER_POOL=gevnt\n")
    assert answer.returncode == 78
    assert "CELERY_WORKER_CONCURENCY=2 (/etc/celery/worker-default.env:1, from pool default)" in answer.stderr
    assert "did you mean gevent?" in answer.stderr


def test_an_app_that_does_not_import_is_refused_with_its_reason(judge: Judge) -> None:
    """The traceback's last line, once for all pools."""
    answer = judge("worker default", "worker b", default="", b="", shared="CELERY_APP=broken\n")
    assert answer.returncode == 78
    assert answer.stderr.count("No module named 'no_such_module'") == 1
    assert "(/etc/celery/celery.env:1, from celery_environment)" in answer.stderr


def test_an_app_that_ends_the_process_is_refused(judge: Judge) -> None:
    """A crash while the app is imported is no silent pass."""
    answer = judge(default="", shared="CELERY_APP=crashing\n")
    assert answer.returncode == 78
    assert "CELERY_APP" in answer.stderr


def test_what_could_lose_jobs_is_said_and_passes(judge: Judge) -> None:
    """An app may choose so, and its operator is told at each deployment."""
    answer = judge(default="", shared="CELERY_APP=lossy\nCELERY_BROKER_URL=redis://127.0.0.1:1/0\n")
    assert answer.returncode == 0
    assert "task_acks_late" in answer.stdout


def test_a_broker_that_is_away_is_refused(judge: Judge) -> None:
    """With its address, without its password, and with the variable that names it."""
    answer = judge(connect=True, default="")
    assert answer.returncode == 78
    assert "CELERY_BROKER_URL=redis://celery:***@127.0.0.1:1/0" in answer.stderr
    assert "the broker does not answer" in answer.stderr
    assert "from celery_broker_url" in answer.stderr
    assert "hunter2" not in answer.stderr


def test_a_broker_that_refuses_the_password_is_refused(judge: Judge, server: Callable[[bytes], int]) -> None:
    """A wrong password is told from an address where nobody answers."""
    port = server(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
    shared = f"CELERY_APP=nothing\nCELERY_BROKER_URL=redis://celery:hunter2@127.0.0.1:{port}/0\n"
    answer = judge(connect=True, default="", shared=shared)
    assert answer.returncode == 78
    assert "the broker refuses the login: " in answer.stderr
    assert "hunter2" not in answer.stderr


def test_a_result_backend_that_refuses_the_password_is_refused(judge: Judge, server: Callable[[bytes], int]) -> None:
    """A worker whose results nobody takes would fail every job."""
    port = server(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
    shared = (
        "CELERY_APP=nothing\nCELERY_BROKER_URL=memory://\nCELERYKIT_DELIVERY=at-most-once\n"
        f"CELERY_RESULT_BACKEND=redis://celery:hunter2@127.0.0.1:{port}/0\n"
    )
    answer = judge(connect=True, default="", shared=shared)
    assert answer.returncode == 78
    assert "the result backend refuses the login: " in answer.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="asks the systemd of this machine")
def test_a_limit_that_systemd_would_ignore_is_refused(judge: Judge) -> None:
    """A misspelt directive, or a value that it does not take, with the variable that it comes from."""
    unit = "[Service]\nExecStart=/bin/true\n"
    limits = "# made\n[Service]\nMemoryMx=1G\nNice=99\nCPUQuota=50%\n"
    units = {"celeryd@.service": unit, "celeryd@default.service.d/limits.conf": limits}
    answer = judge(default="", units=units, origins={"celeryd@default.service.d/limits.conf": "celery_workers"})
    assert answer.returncode == 78
    place = "/etc/systemd/system/celeryd@default.service.d/limits.conf"
    assert f"MemoryMx=1G ({place}:3, from celery_workers): Unknown key" in answer.stderr
    assert f"Nice=99 ({place}:4, from celery_workers): " in answer.stderr
    assert "CPUQuota" not in answer.stderr


def test_what_systemd_says_is_traced_to_the_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its complaints about drop-ins are findings, each once; those about other programs' units are not ours."""
    program = tmp_path / "systemd-analyze"
    program.write_text(
        "#!/bin/sh\nfolder=${SYSTEMD_UNIT_PATH%%:*}\n"
        "for i in 1 2; do echo \"$folder/a.service.d/limits.conf:2: Unknown key 'MemoryMx', ignoring.\" >&2; done\n"
        'echo "/lib/systemd/system/b.service.d/x.conf:1: Unknown key." >&2\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (finding,) = dropins.judge({"a.service": "", "a.service.d/limits.conf": "[Service]\nMemoryMx=1G\n"})
    assert str(finding).startswith(
        "MemoryMx=1G (/etc/systemd/system/a.service.d/limits.conf:2): Unknown key 'MemoryMx', ignoring. "
    )


def test_without_files_what_is_in_place_is_judged(tmp_path: Path) -> None:
    """A deployment of the app alone is judged under the env files that are there."""
    (tmp_path / "celery.env").write_text("CELERY_APP=broken\n")
    document = {"folder": str(tmp_path), "files": {}, "processes": [["worker", "default"]], "connect": False}
    answer = subprocess.run(
        [sys.executable, "-m", "celerykit", "check", "--candidate"],
        input=json.dumps(document),
        env={"PATH": os.environ["PATH"]},
        cwd=APPS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 78
    assert f"CELERY_APP=broken ({tmp_path}/celery.env:1)" in answer.stderr
