"""What the tests of the transport share: a server for each process of the tests, emptied for each test.

Tests marked with `each_server` run on every server that Debian's archives have, all tests on those that
`CELERYKIT_TEST_SERVERS` names.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.transport.bench import Bench
from tests.transport.server import IMAGES, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the servers of a test."""
    if "_server" in metafunc.fixturenames:
        kinds = list(IMAGES) if metafunc.definition.get_closest_marker("each_server") else list(IMAGES)[:1]
        wanted = os.environ.get("CELERYKIT_TEST_SERVERS", "").split() or kinds
        metafunc.parametrize("_server", wanted, indirect=True, scope="session")


@pytest.fixture(scope="session")
def _server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(request.param)
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
