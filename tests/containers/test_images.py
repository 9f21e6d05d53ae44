"""The images by themselves: what they are built from, and what they refuse to start with."""

from __future__ import annotations

import os
import secrets
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.rig.compose import ROOT
from tests.rig.containers import REDIS_IMAGE
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.containers import Rig

EX_CONFIG = 78
SAVE = """
redis-server --port 0 --unixsocket /tmp/s --save '' --dir /data >/dev/null &
until redis-cli -s /tmp/s ping; do sleep 0.1; done
redis-cli -s /tmp/s rpush celery one two three; redis-cli -s /tmp/s save; redis-cli -s /tmp/s shutdown nosave
"""
"""A server that keeps its jobs in a snapshot."""
START = "redis-server --port 0 --unixsocket /tmp/s --save '' --dir /data --appendonly yes >/dev/null &"
ASK = f"{START} until redis-cli -s /tmp/s ping; do sleep 0.1; done; redis-cli -s /tmp/s"
EMPTY = f"mv dump.rdb /tmp; {ASK} shutdown; mv /tmp/dump.rdb ."
"""What a start without the snapshot leaves."""


@pytest.fixture
def tag() -> Iterator[str]:
    """A name for an image of this test's own."""
    name = f"celerykit/test:{secrets.token_hex(4)}"
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False)


@pytest.mark.parametrize("before", ["true", EMPTY], ids=["no file of jobs", "an empty file of jobs"])
def test_redis_does_not_start_without_the_jobs_of_its_snapshot(rig: Rig, before: str) -> None:
    """It would come up empty without a word: it is refused with what to do, and that brings the jobs back."""
    volumes = {f"{rig.name}-schedule": {"bind": "/data", "mode": "rw"}}

    def run(command: str) -> tuple[int, str]:
        process = rig.run(REDIS_IMAGE, entrypoint=["sh", "-c", command], volumes=volumes)
        until(lambda: process.state["Status"] == "exited", 60, lambda: process.logs)
        return int(process.state["ExitCode"]), process.logs

    assert run(SAVE)[0] == 0
    run(before)
    code, said = run("redis-start --port 0 --dir /data --appendonly yes")
    assert (code, "dump.rdb has keys" in said, "redis-snapshot redis restore" in said) == (EX_CONFIG, True, True), said
    assert run("redis-snapshot restore")[0] == 0
    code, said = run(f"redis-snapshot check && {ASK} lrange celery 0 -1")
    assert (code, said.split()[-3:]) == (0, ["one", "two", "three"]), said


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("redis", "cat /etc/redis/*.conf /usr/share/celerykit/* >/dev/null && redis-snapshot check"),
        ("installer", "/opt/with-ca /opt/celerykit/bin/python -m celerykit.app release /srv /tmp/x"),
    ],
)
def test_a_clone_that_is_closed_to_others_makes_images_that_start(
    tmp_path: Path, tag: str, target: str, command: str
) -> None:
    """Under umask 077 nobody but its owner may read a clone; what its images run as may read what is in them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    packed = subprocess.run(["tar", "c", "--null", "-T", "-"], cwd=ROOT, input=listed, capture_output=True, check=True)
    unpack = ["sh", "-c", "umask 077 && tar x --no-same-permissions"]
    subprocess.run(unpack, cwd=tmp_path, input=packed.stdout, check=True)
    bundle = os.environ.get("CELERYKIT_CA_BUNDLE") or str(ROOT / "compose" / "no-ca.pem")
    build = ["docker", "buildx", "build", "--load", "--file", "images/Dockerfile", "--target", target, "--tag", tag]
    made = subprocess.run(
        [*build, "--secret", f"id=ca,src={bundle}", "."], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr[-3000:]
    run = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", tag, "-c", command]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
