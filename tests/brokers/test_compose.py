"""The stack of Compose on RabbitMQ, and on PostgreSQL alone."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.rig.compose import WITH_LEDGER, Stack
from tests.rig.containers import APPS
from tests.rig.ledger import Ledger
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.rig.process import Process


@pytest.fixture
def ledger(folder: Path) -> Ledger:
    """The ledger outside of the stack."""
    return Ledger(folder)


@pytest.fixture
def make(ledger: Ledger) -> Iterator[Callable[..., Stack]]:
    """The stack as one variable makes it, by the files that it names; beat with its schedule included."""
    told = {"CELERYKIT_APP_DIR": str(APPS), "CELERY_APP": "beating", "CELERYKIT_LEDGER": str(ledger.folder)}
    made: list[Stack] = []

    def stack_of(*files: str) -> Stack:
        name = f"celerykit-test-{secrets.token_hex(4)}"
        made.append(Stack(name, (WITH_LEDGER[0], *files, *WITH_LEDGER[1:]), told))
        return made[0]

    try:
        yield stack_of
    finally:
        for stack in made:
            stack.remove()


def hardened(process: Process, password: str) -> None:
    """No root, no capability, nothing to write; the password is in its file alone."""
    settings = process.container.attrs["HostConfig"]
    assert process.container.attrs["Config"]["User"] not in {"", "0", "root", "0:0"}
    assert settings["ReadonlyRootfs"] and settings["CapDrop"] == ["ALL"] and not settings["PortBindings"]
    assert any(option.startswith("no-new-privileges") for option in settings["SecurityOpt"])
    assert settings["Memory"] > 0 and settings["LogConfig"]["Config"]["max-size"]
    shown = json.dumps(process.container.attrs) + process.logs + process.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert len(password) >= 32 and password not in shown


def test_one_variable_makes_rabbitmq_the_broker(make: Callable[..., Stack], ledger: Ledger) -> None:
    """Workers and beat take to it, each as its own user, and a stack that goes down and up keeps its jobs."""
    stack = make("compose/rabbitmq.yaml")
    stack.up("worker", "beat", "rabbitmq")
    (worker,), (server,) = stack.processes("worker"), stack.processes("rabbitmq")
    hardened(server, server.sh("sed -n 's/^password = //p' /secrets/rabbitmq/operator.conf").strip())
    worker.sh("python -m celerykit_submit 20 0.1")
    until(lambda: {"tick", *ledger.account().accepted} <= set(ledger.account().done), 60, "jobs and a tick")
    users = server.sh("rabbitmqctl -q list_connections user").split()
    assert {"worker", "producer"} <= set(users), users
    worker.sh("python -m celerykit_submit 20 0.5")
    stack.compose("down")
    stack.up("worker", "rabbitmq")
    until(lambda: not ledger.account().lost, 120, lambda: str(ledger.account()))


def test_one_variable_makes_postgresql_the_only_server(make: Callable[..., Stack], ledger: Ledger) -> None:
    """No Redis is started, jobs and results are in PostgreSQL, and a stack that goes down and up keeps its jobs."""
    stack = make("compose/postgresql.yaml", "compose/pgmq.yaml")
    stack.up("worker", "beat")
    (worker,), (server,) = stack.processes("worker"), stack.processes("postgresql")
    assert not stack.processes("redis")
    url = worker.sh("cat /secrets/celery/postgresql-broker")
    hardened(server, urlsplit(url).password or "")
    submit = "BROKER_OPTIONS='{\"init_extension\": false}' python -m celerykit_submit"
    worker.sh(f"{submit} 20 0.1")
    until(lambda: {"tick", *ledger.account().accepted} <= set(ledger.account().done), 60, "jobs and a tick")
    count = "psql -At celery -c \"SELECT count(*) >= 20 FROM celery.celery_taskmeta WHERE status = 'SUCCESS'\""
    until(lambda: server.sh(count).strip() == "t", 20, "results")
    worker.sh(f"{submit} 20 0.5")
    stack.compose("down")
    stack.up("worker")
    until(lambda: not ledger.account().lost, 120, lambda: str(ledger.account()))
