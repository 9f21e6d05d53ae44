"""What the tests of the transport share: a server for each process of the tests, emptied for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.transport.bench import Bench
from tests.transport.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def _server() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def server(_server: Server) -> Server:
    """An empty Redis, as it was set up."""
    _server.reset()
    return _server


@pytest.fixture
def bench(server: Server) -> Iterator[Bench]:
    """Producers and consumers in this process, and workers in others."""
    bench = Bench(server)
    try:
        yield bench
    finally:
        bench.close()
