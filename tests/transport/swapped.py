"""A plugin of pytest: Kombu's own tests of its transport for Redis find the kit's classes in their place.

Left out are those of what the kit does in another way. A name here that no test has any more is an error.
"""

from __future__ import annotations

import pytest
from kombu.transport import redis as stock

from celerykit.transports.redis import SentinelTransport, Transport
from celerykit.transports.redis.poller import Poller
from celerykit.transports.redis.qos import QoS

stock.Transport, stock.SentinelTransport = Transport, SentinelTransport
stock.Channel, stock.SentinelChannel = Transport.Channel, SentinelTransport.Channel
stock.QoS, stock.MultiChannelPoller = QoS, Poller

NOT_OURS = {
    "test_PausedBRPOP": "there is no BRPOP that could be paused: a full worker asks for nothing",
    "test_register_BRPOP": "there is no BRPOP",
    "test_qos_restore_visible": "a script looks for what is overdue: test_lease.py",
    "test_global_keyprefix_restore_visible": "a script looks for what is overdue: test_lease.py",
    "test_qos_reject": "a job goes back by a script: test_reservation.py",
    "test_qos_requeue": "a job goes back by a script: test_reservation.py",
    "test_priority_cycle_preserves_queue_order": "its server knows no scripts: test_reservation.py has the order",
    "test_publish__get_redispyv": "its server knows no scripts: test_reservation.py gets a job",
    "test_publish__consume": "its server knows no scripts: test_reservation.py consumes",
}
"""The beginnings of names, and why."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not apply.

    :raises pytest.UsageError: if nothing has a name that is left out.
    """
    left_out = {name: [item for item in items if _is_named(item, name)] for name in NOT_OURS}
    if unknown := [name for name, found in left_out.items() if not found]:
        raise pytest.UsageError(f"Kombu has no tests any more that begin with {', '.join(unknown)}")
    gone = {item for found in left_out.values() for item in found}
    config.hook.pytest_deselected(items=list(gone))
    items[:] = [item for item in items if item not in gone]


def _is_named(item: pytest.Item, name: str) -> bool:
    return any(part.startswith(name) for part in item.nodeid.split("::"))
