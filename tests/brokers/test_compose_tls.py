"""The stack of Compose with TLS on every link, by the files and commands of docs/tls.md."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.rig.compose import WITH_LEDGER, Stack
from tests.rig.ledger import Ledger
from tests.rig.waiting import meanwhile, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.process import Process

FILES = {
    "redis": ("compose/tls.yaml",),
    "rabbitmq": ("compose/rabbitmq.yaml", "compose/tls.yaml", "compose/rabbitmq-tls.yaml"),
    "postgresql": ("compose/postgresql.yaml", "compose/pgmq.yaml", "compose/tls.yaml", "compose/postgresql-tls.yaml"),
}
PORTS = {"redis": 6379, "rabbitmq": 5671, "postgresql": 5432}
RUN, ANEW = ("run", "--rm", "--no-TTY"), ("certificates", "--renew")
RENEW = {
    "redis": (*RUN, "certificates", *ANEW, "redis", "flower"),
    "rabbitmq": (*RUN, "certificates", *ANEW, "redis", "flower", "rabbitmq"),
    "postgresql": (*RUN, "postgresql-certificates", *ANEW, "postgresql"),
}
READ = {
    "redis": ("restart", "redis", "flower"),
    "postgresql": ("restart", "postgresql"),
    "rabbitmq": ("exec", "--no-TTY", "rabbitmq", "rabbitmqctl", "-q", "eval", "ssl:clear_pem_cache()."),
}
LOOK = """
import socket, ssl, sys, urllib.error, urllib.request
host, port = sys.argv[1], int(sys.argv[2])
trusted = ssl.create_default_context(cafile="/secrets/celery/ca.pem")
trusted.set_alpn_protocols(["postgresql"])  # which speaks TLS to others only after a word in the clear
with trusted.wrap_socket(socket.create_connection((host, port), 5), server_hostname=host) as connection:
    print(connection.getpeercert()["serialNumber"])
if host == "flower":
    for url, context in (("https://flower:5555/", trusted), ("http://flower:5555/", None)):
        try:
            urllib.request.urlopen(url, timeout=5, context=context)
        except urllib.error.HTTPError as exc:
            print(exc.code)
        except OSError as exc:
            print("closed")
"""
"""Run in a worker's container: shake hands as a strict client, and print the serial number of the certificate."""


@pytest.fixture(params=FILES)
def stack(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[str, Stack, Ledger]]:
    """The stack with each broker, with a ledger outside of it."""
    ledger = Ledger(folder)
    first, *others = WITH_LEDGER
    files = (first, *FILES[request.param], *others)
    name = f"celerykit-test-{secrets.token_hex(4)}"
    stack = Stack.with_ledger(name, ledger, files=files, CELERYKIT_FLOWER_PORT="0", COMPOSE_PROFILES="flower")
    try:
        yield request.param, stack, ledger
    finally:
        stack.remove()


def look(worker: Process, host: str, port: int) -> list[str]:
    """Return what a neighbour sees."""
    code, output = worker.container.exec_run(["python", "-c", LOOK, host, str(port)])
    assert code == 0, output.decode(errors="replace")
    return str(output.decode()).split()


def in_the_clear(worker: Process, host: str, port: int) -> str:
    """Return what a server says to whoever speaks no TLS, of what can be read."""
    told = (
        "import socket, string, sys\n"
        "try:\n"
        "    server = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)\n"
        "    server.sendall(b'PING\\r\\nAMQP\\0\\0\\x09\\x01')\n"
        "    answer = server.recv(100).decode(errors='ignore')\n"
        "    print(''.join(c for c in answer if c in string.printable).strip())\n"
        "except OSError: pass\n"
    )
    return str(worker.container.exec_run(["python", "-c", told, host, str(port)]).output.decode()).strip()


@pytest.mark.slow_with("redis", "postgresql")
def test_new_certificates_lose_no_job(stack: tuple[str, Stack, Ledger]) -> None:
    """Jobs go over TLS alone while the certificates are renewed; each server shows its new one, and nothing is lost."""
    broker, whole, ledger = stack
    whole.up("worker", "flower", broker)
    (worker,) = whole.processes("worker")
    before = look(worker, broker, PORTS[broker])
    assert in_the_clear(worker, broker, PORTS[broker]) == "" and in_the_clear(worker, "rabbitmq", 5672) == ""
    assert look(worker, "flower", 5555)[1:] == ["401", "closed"]
    with meanwhile(lambda: worker.container.exec_run(["python", "-m", "celerykit_submit", "5", "0.3"]), 0.1):
        until(lambda: ledger.account().running, 60, "running jobs", pause=0.05)
        whole.compose(*RENEW[broker])
        whole.compose(*READ[broker])
        ledger.wait_accepted(5, 60)
    until(lambda: not ledger.account().lost, 120, lambda: str(ledger.account()))
    assert look(worker, broker, PORTS[broker]) != before
    # What a restart cuts off in the middle of being sent or acknowledged is done again; RabbitMQ is not restarted.
    assert broker != "rabbitmq" or not ledger.account().done_twice, str(ledger.account())
