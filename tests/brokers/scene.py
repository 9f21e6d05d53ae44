"""A broker of any kind with its server, and workers that are connected to it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celerykit.brokers.catalogue import Promise
from celerykit.config.settings import AT_MOST_ONCE
from tests.brokers.kinds import FOLDER, LOGIN, PGMQ, RABBITMQ, REDIS, Kind, settings
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.containers import Rig
    from tests.rig.process import Process

LONGEST_JOB = 5


class Broker:
    """A broker of some kind in a rig, with workers that are connected to it."""

    def __init__(self, rig: Rig, kind: Kind):
        self.rig = rig
        self.kind = kind
        stand_up = {REDIS.name: rig.redis, RABBITMQ.name: rig.rabbitmq, PGMQ.name: rig.pgmq}.get(kind.name)
        self.server = stand_up() if stand_up else serve(rig, kind)
        if not stand_up:
            rig.broker_url = kind.url

    def worker(self, **options: Any) -> Process:
        """Start a worker of one slot, which says that jobs may be lost where it must."""
        volumes = {f"{self.rig.name}-broker": {"bind": FOLDER, "mode": "rw"}}
        told = {
            "CELERYKIT_DELIVERY": "UNSET" if self.kind.promise is Promise.REDELIVERS else AT_MOST_ONCE,
            "CELERYKIT_LONGEST_JOB": LONGEST_JOB,
            "CELERY_WORKER_CONCURRENCY": 1,
            **settings(self.kind),
            **options,
        }
        return self.rig.worker("prefork", "others", working_dir="/app/current", volumes=volumes, **told)

    def submit(self, worker: Process, number: int, seconds: float, **options: Any) -> None:
        """Submit jobs from where the worker is: nobody else reaches this broker."""
        worker.sh(f"cd /app/current && python -m celerykit_submit {number} {seconds} '{json.dumps(options)}'")


def serve(rig: Rig, kind: Kind) -> Process | None:
    """Start the server of a broker or result backend, if it has one, and return it when it answers."""
    if not kind.server:
        return None
    if kind.image:
        volumes = {f"{rig.name}-server": {"bind": "/data", "mode": "rw"}}
        server = rig.run(kind.image, name="server", command=["sh", "-c", kind.server], volumes=volumes)
    else:
        here = {"entrypoint": ["sh"], "working_dir": "/app/current"}
        server = rig.celery(["-c", kind.server], "others", LOGIN, name="server", **here)
    wait_answering(server, kind.port)
    return server


def wait_answering(server: Process, port: int) -> None:
    """Wait until a server takes connections."""
    ask = ["bash", "-c", f": </dev/tcp/127.0.0.1/{port}"]
    until(lambda: server.container.exec_run(ask).exit_code == 0, 90, lambda: f"port {port} answers:\n{server.logs}")


def assert_all_done(rig: Rig, seconds: float) -> None:
    """Every accepted job is done."""
    until(
        lambda: rig.ledger.account().accepted and not rig.ledger.account().lost,
        seconds,
        lambda: str(rig.ledger.account()),
    )


def statement(server: Process, *sql: str) -> None:
    """Have PostgreSQL's own user say something."""
    server.sh(" ".join(["psql -v ON_ERROR_STOP=1", *(f'-c "{each}"' for each in sql), "celery"]))


@contextmanager
def read_only(server: Process) -> Iterator[None]:
    """Let PostgreSQL take nothing, as a standby does."""
    statement(server, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    yield
    own = "SET default_transaction_read_only = off"
    statement(server, own, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
