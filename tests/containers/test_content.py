"""Each pool runs jobs however their messages are written, and takes no message that it must not."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.containers import Rig
from tests.rig.process import refused
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.process import Process

APP = Path(__file__).with_name("content")
SERIALIZERS = ["json", "yaml", "msgpack"]
COMPRESSIONS = [None, "zlib", "bzip2", "gzip", "zstd"]
KINDS = [[serializer, compression] for serializer in SERIALIZERS for compression in COMPRESSIONS]
SIGNED = {
    "task_serializer": "auth",
    "result_serializer": "auth",
    "event_serializer": "auth",
    "accept_content": ["auth"],
    "security_key": "/ledger/own/key.pem",
    "security_certificate": "/ledger/own/certificate.pem",
    "security_cert_store": "/ledger/trusted/*.pem",
}
"""As docs/content.md says it; the ledger's folder is just one that is there."""
pytestmark = pytest.mark.xdist_group("content")  # so that the app is installed once


@pytest.fixture(scope="module")
def installed() -> Iterator[str]:
    """The volume on which the app is, with the libraries that it names."""
    with Rig.in_memory() as rig:
        rig.install(APP)
        yield rig.app


@pytest.fixture
def stack(rig: Rig, installed: str) -> Rig:
    """A rig with its broker and the app."""
    rig.redis()
    rig.app = installed
    return rig


def worker(rig: Rig, pool_class: str = "prefork", **conf: Any) -> Process:
    """Start a worker of the app with these settings."""
    options = {"working_dir": "/app/current", "APP_SETTINGS": json.dumps(conf)}
    return rig.worker(pool_class, "content", **options)


@pytest.mark.parametrize(
    ("pool_class", "serializer", "compression"),
    [
        ("prefork", "yaml", "zstd"),
        ("threads", "msgpack", "bzip2"),
        ("solo", "json", "gzip"),
        ("gevent", "yaml", "zlib"),
        ("eventlet", "msgpack", None),
    ],
)
def test_each_pool_runs_jobs_however_they_are_written(
    stack: Rig, pool_class: str, serializer: str, compression: str | None
) -> None:
    """A job of each serializer and compression is done and its result read, which is written by others still."""
    results = {"result_serializer": serializer, "result_compression": compression}
    process = worker(stack, pool_class, accept_content=SERIALIZERS, **results)
    assert f"pool={pool_class} " in process.logs
    came = process.sh(f"python -m exchange '{json.dumps(KINDS)}'")
    assert json.loads(came) == KINDS


def certify(folder: Path, name: str) -> None:
    """Make a key and a certificate as docs/content.md does."""
    folder.mkdir()
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem"))
    command = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:3072",
        "-nodes",
        "-days",
        "365",
        "-subj",
        f"/CN={name}",
        *files,
    )
    subprocess.run(command, check=True, capture_output=True)
    (folder / "key.pem").chmod(0o644)  # for the user inside


def test_only_signed_messages_of_those_who_are_trusted_are_taken(stack: Rig) -> None:
    """An unsigned job and one that a stranger has signed are refused; one of a known key is done, control answers."""
    folder = stack.ledger.folder
    (folder / "trusted").mkdir()
    for name in ("own", "foreign"):
        certify(folder / name, name)
    shutil.copy(folder / "own" / "certificate.pem", folder / "trusted" / "own.pem")
    process = worker(stack, **SIGNED)
    unsigned = stack.client.submit("jobs.work", 0.1)
    process.wait_log("Refusing to deserialize untrusted content of type json")
    foreign = {"security_key": "/ledger/foreign/key.pem", "security_certificate": "/ledger/foreign/certificate.pem"}
    send(process, {**SIGNED, **foreign})
    process.wait_log("Unknown certificate")
    send(process, SIGNED)
    until(lambda: stack.ledger.account().done, 60, "the signed job")
    assert len(stack.ledger.account().starts) == 1 and unsigned not in stack.ledger.account().starts
    assert "pong" in process.sh("python -m celery -A content inspect ping")


def send(process: Process, conf: dict[str, Any]) -> None:
    """Send a job from where the worker is, with settings of its own."""
    process.sh(
        f"APP_SETTINGS='{json.dumps(conf)}' python -c "
        "'import content; print(content.app.send_task(\"jobs.work\", args=[0.1]))'"
    )


def test_pickle_is_refused_unless_the_app_names_it(stack: Rig) -> None:
    """A worker runs no pickled job, until its app accepts that by name; then it says what that means."""
    pickled = json.dumps([["pickle", None]])
    process = worker(stack)
    send_pickled = "from content import app; print(app.send_task('jobs.echo', args=[1], serializer='pickle'))"
    process.sh(f'python -c "{send_pickled}"')
    process.wait_log("Refusing to deserialize untrusted content of type pickle")
    process.stop()
    process = worker(stack, accept_content=["json", "pickle"])
    process.wait_log("accept_content=json,pickle (app content): anybody who reaches the broker can run any code")
    assert json.loads(process.sh(f"python -m exchange '{pickled}'")) == [["pickle", None]]


def test_the_only_library_that_brings_zstd_is_named(rig: Rig) -> None:
    """Without it the worker ends with the remedy; Celery's extra of that name would not help."""
    rig.app = str(APP)
    options = {"working_dir": "/app", "APP_SETTINGS": json.dumps({"task_compression": "zstd"})}
    refused(rig.worker("prefork", "content", ready=False, **options), "task_compression=zstd", "backports.zstd")
