"""The jobs of a dead worker go back without their bodies on the way, a bounded number of bytes at each step."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from celerykit.messages import dead_letters
from celerykit.transports.redis import takeover
from celerykit.transports.redis.heartbeat import Keeper
from celerykit.transports.redis.messages import MOST_BYTES
from celerykit.transports.redis.takeover import CLOSED
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.transport.bench import Bench

KIB = 1024


@pytest.fixture(autouse=True)
def _nobody_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "start", lambda _: None)


@pytest.mark.each_server
def test_large_jobs_go_back_by_small_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two scripts for each megabyte of messages, and next to nothing is sent by Redis or to it."""
    monkeypatch.setattr(takeover, "SPELL", 60.0)  # on a loaded machine, the rest is for the next beat
    jobs, size = 30, 300 * KIB
    bench.send(*(f"{number}" + "x" * size for number in range(jobs)))
    dead = bench.consume(prefetch=jobs)
    bodies = [message.payload for message in dead.get(jobs)]
    dead.lease.presence.close()
    heir = bench.consume("elsewhere").renewal.takeover
    bench.root.config_resetstat()
    assert heir.take_over(dead.lease.owner, "gone", CLOSED) == jobs
    calls = bench.root.info("commandstats")["cmdstat_evalsha"]["calls"]
    a_step = math.ceil(MOST_BYTES / (size * 4 / 3))
    assert calls - bench.root.info("errorstats").get("errorstat_NOSCRIPT", {"count": 0})["count"] == 2 * jobs / a_step
    stats = bench.root.info("stats")
    assert stats["total_net_output_bytes"] + stats["total_net_input_bytes"] < 4 * KIB * jobs < size
    again = bench.consume(prefetch=jobs)
    messages = again.get(jobs)
    assert [message.payload for message in messages] == bodies
    assert all(message.headers["redelivered"] and dead_letters.deliveries(message) == 2 for message in messages)


ODD = {
    "another order": '{"headers": {"id": "1"}, "body": "WzFd", %s}',
    "an escape in the body": '{"body": "a \\" b\\\\", "headers": {"id": "1"}, %s}',
    "no body": '{"headers": {"id": "1"}, %s}',
    "a body that is empty": '{"body": "", "headers": {"id": "1"}, %s}',
    "an escape after the body": '{"body": "WzFd", "headers": {"id": "\\"1\\u00e9"}, %s}',
    "the end of a row in a header": '{"body": "WzFd", "headers": {"id": ",\\"\\","}, %s}',
}
REST = '"content-type": "application/json", "properties": {"delivery_info": {"exchange": ""}, "delivery_tag": "t"}'


@pytest.mark.parametrize("message", [message % REST for message in ODD.values()], ids=list(ODD))
def test_whatever_a_message_looks_like_it_goes_back_whole(bench: Bench, message: str) -> None:
    """Marked, and else as it came."""
    bench.root.lpush("jobs", message)
    dead = bench.consume()
    until(lambda: dead.fetcher.inbox.arrived or dead.turn(0.05) or bench.reserved, 10, "reserved")
    dead.lease.presence.close()
    heir = bench.consume("elsewhere").renewal.takeover
    assert heir.take_over(dead.lease.owner, "gone", CLOSED) == 1
    expected = json.loads(message)
    expected["headers"] |= {"redelivered": True, dead_letters.DELIVERIES: 1}
    expected["properties"]["delivery_info"]["redelivered"] = True
    assert json.loads(bench.root.lindex("jobs", 0)) == expected


def test_what_is_no_message_goes_back_as_it_is(bench: Bench) -> None:
    """Byte for byte: nobody can mark it."""
    for raw in (b"\xff no message", b'{"body": "never ends', b'{"body": "", no JSON'):
        bench.root.lpush("jobs", raw)
    dead = bench.consume(prefetch=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead.fetcher.inbox, "hand_out", lambda: True)
        until(lambda: dead.turn(0.05) or bench.reserved == 3, 10, "reserved")
    dead.lease.presence.close()
    heir = bench.consume("elsewhere").renewal.takeover
    assert heir.take_over(dead.lease.owner, "gone", CLOSED) == 3
    assert bench.root.lrange("jobs", 0, -1)[::-1] == [
        b"\xff no message",
        b'{"body": "never ends',
        b'{"body": "", no JSON',
    ]


def test_one_worker_takes_over_at_a_time(bench: Bench) -> None:
    """Others that see the death leave it to that one for some seconds, in which it is to say more of it."""
    bench.send("one")
    dead = bench.consume()
    dead.get(1)
    heirs = [bench.consume("elsewhere") for _ in range(2)]
    for heir in heirs:
        heir.renewal.beat()
    took: list[str] = []
    for heir in heirs:
        heir.renewal.takeover.take_over = lambda *_, name=heir.lease.owner: took.append(name)
    dead.lease.presence.close()
    bench.root.zadd("celerykit.owners", {dead.lease.owner: 1})
    for heir in (*heirs, *heirs):
        heir.renewal.beat()
    first, other = (heir.lease.owner for heir in heirs)
    assert took == [first] * 2
    until(lambda: (heirs[1].renewal.beat(), other in took)[1], 10, "the other one's turn")
