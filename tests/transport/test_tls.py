"""The same by way of TLS, whose connections read in records and not in answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from tests.rig.waiting import until
from tests.transport.bench import TAKEOVER, Bench
from tests.transport.server import IMAGES, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Producers and consumers of a server that takes nobody without TLS."""
    server = Server(next(iter(IMAGES)), trustme.CA())
    bench = Bench(server)
    try:
        yield bench
    finally:
        bench.close()
        server.close()


def test_jobs_come_by_tls_as_they_come_without(bench: Bench) -> None:
    """An idle worker is woken, a busy one gets all, many and large, and a killed one's jobs are taken over."""
    worker = bench.start(prefetch=4, reconnects=True)
    worker.wait("ready")
    bench.send("woken")
    worker.wait("done", seconds=2)
    bench.send(*(f"{number}".rjust(200_000 if number % 50 == 0 else 100) for number in range(1000)))
    worker.wait("done", 1001)
    until(lambda: bench.reserved == 0, 30, "all settled")
    victim = bench.start(seconds=60, prefetch=2, queue="held")
    victim.wait("ready")
    bench.send("one", "two", queue="held")
    victim.wait("got")
    heir = bench.consume("held", prefetch=2)
    victim.kill()
    assert heir.get(2, TAKEOVER)


def test_a_server_that_nobody_vouches_for_gets_no_job(bench: Bench) -> None:
    """With the certificate of another authority nobody connects, and nothing is sent in the clear."""
    stranger = trustme.CA()
    stranger.cert_pem.write_to_path(bench.server.authority_file)
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        bench.send("secret")
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        bench.consume()
