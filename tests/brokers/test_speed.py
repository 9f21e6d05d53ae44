"""How fast each broker is beside Redis: a figure for docs/brokers.md, taken while nothing else runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.brokers.kinds import EVERY
from tests.brokers.scene import assert_all_done

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.brokers.conftest import Seen
    from tests.brokers.kinds import Kind
    from tests.brokers.scene import Broker

JOBS = 100


@pytest.mark.slow
@EVERY
def test_a_worker_does_jobs_that_wait(on: Callable[[Kind], Broker], seen: Seen, kind: Kind) -> None:
    """One slot, jobs that do nothing and wait already: the seconds from the first start to the last end."""
    broker = on(kind)
    seen("load", round(os.getloadavg()[0], 1))
    worker = broker.worker()
    worker.signal("SIGSTOP")
    broker.submit(worker, JOBS, 0.0)
    worker.signal("SIGCONT")
    assert_all_done(broker.rig, 400)  # etcd does one in two seconds
    ran = [entry.at for entry in broker.rig.ledger.entries() if entry.kind in {"start", "done"}]
    seen("jobs a second", round(JOBS / (max(ran) - min(ran)), 1))
    if broker.server is not None and kind.version:
        seen("version", broker.server.sh(kind.version).strip())
