"""celerykit in an image of the app's own, made as docs/images.md has it: another Debian, Python, user and folder."""

from __future__ import annotations

import re
import secrets
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.rig import ownimage
from tests.rig.compose import ROOT, WITH_LEDGER, Stack
from tests.rig.ledger import Ledger
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EX_CONFIG = 78
PAGE = ROOT / "docs" / "images.md"
APP = """
from celery import Celery
app = Celery("shop", include=["celerykit_survival"])
app.conf.beat_schedule = {"often": {"task": "jobs.tick", "schedule": 1.0, "args": ("often",)}}
"""
ABOUT = "import celery, os, sys; print(os.getuid(), *sys.version_info[:2], celery.__version__, os.getcwd())"


@pytest.fixture
def image(tmp_path: Path) -> Iterator[str]:
    """The image of the page, with an app in it."""
    name = f"celerykit/test:{secrets.token_hex(4)}"
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "requirements.txt").write_text("celery[redis]==5.6.3\n")
    (recipe,) = re.findall(r"^```dockerfile\n(FROM debian:bookworm.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "Dockerfile").write_text(recipe)
    ownimage.build(tmp_path, name)
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False)


@pytest.fixture
def ledger(folder: Path) -> Ledger:
    """The ledger outside of the stack."""
    return Ledger(folder)


@pytest.fixture
def stack(image: str, ledger: Ledger, tmp_path: Path) -> Iterator[Stack]:
    """The kit's stack, with that image for what runs the app."""
    name = f"celerykit-test-{secrets.token_hex(4)}"
    files = (*WITH_LEDGER[:1], "compose/image.yaml", *WITH_LEDGER[1:])
    own = tmp_path / "app.env"
    own.write_text("GREETING=good $day\n")
    told = {"CELERYKIT_IMAGE": image, "CELERY_APP": "shop", "CELERYKIT_STOP_TIMEOUT": "30"}
    told["CELERYKIT_APP_ENV_FILE"] = str(own)
    stack = Stack.with_ledger(name, ledger, files, **told)
    try:
        yield stack
    finally:
        stack.remove()


def test_jobs_survive_in_an_image_of_your_own(stack: Stack, ledger: Ledger, image: str) -> None:
    """The image's user, Python, folder and Celery hold; no job is lost by a restart and a kill, and beat keeps time."""
    # What a stack of another image has left behind.
    before = ("run", "--rm", "--no-deps", "--no-TTY", "--entrypoint", "sh", "passwords", "-c")
    stack.compose(*before, "touch /var/lib/celery/schedule.lock && chmod 755 /var/lib/celery /run/celery")
    stack.up("worker", "beat")
    worker, beat = stack.only("worker"), stack.only("beat")
    assert worker.sh(f"python -c '{ABOUT}'").split() == ["1500", "3", "11", "5.6.3", "/srv/app"]
    until(lambda: ledger.account().done["often"] >= 2, 30, lambda: f"beat sends jobs:\n{beat.logs}")
    beside = ("run", "--rm", "--no-deps", "--no-TTY", "client", "printenv", "GREETING")
    assert stack.compose(*beside) == "good $day\n", "a command beside the worker has what the app reads for itself"

    client = stack.client(ledger)
    client.work(12, 0.5)
    until(lambda: ledger.account().running, 30, "running jobs", pause=0.05)
    stack.compose("restart", "worker")
    client.work(12, 0.5)
    until(lambda: ledger.account().running, 60, "running jobs", pause=0.05)
    worker.kill()
    worker.start()
    until(lambda: not ledger.account().lost, 60, lambda: f"{ledger.account()}\n{worker.logs}")
    until(lambda: client.queued() + client.unacknowledged() == 0, 60, "an empty broker")

    assert "Traceback" not in worker.logs + beat.logs
    assert "schedule" in beat.sh("ls /var/lib/celery").split()
    stack.compose("stop", "beat", "worker")
    assert [process.state["ExitCode"] for process in (worker, beat)] == [0, 0], worker.logs + beat.logs

    # Who starts the image by hand, and forgets the group.
    told = ("--env", "CELERY_APP=shop", "--env", "CELERY_BROKER_URL_FILE=/secrets/celery/broker-url")
    volume = ("--volume", f"{stack.project}_celery-secrets:/secrets/celery:ro")
    run = ["docker", "run", "--rm", *told, *volume, image]
    alone = subprocess.run(run, capture_output=True, text=True, check=False)
    assert alone.returncode == EX_CONFIG
    assert "user 1500 may not read it" in alone.stderr and "--group-add 10001" in alone.stderr, alone.stderr
