"""The protocol against a model of it: whatever happens, in whatever order, no job is lost and none has two owners."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from celerykit.transports.redis import renewal, scripts
from celerykit.transports.redis.consumer_info import Workplace
from celerykit.transports.redis.heartbeat import Keeper
from tests.transport.bench import Bench

if TYPE_CHECKING:
    from tests.transport.bench import Consumer
    from tests.transport.server import Server

QUEUES = ("a", "b")

LISTS = [f"{queue}{rank}" for queue in QUEUES for rank in ("", "\x06\x163", "\x06\x166", "\x06\x169")]
LOOK = """
local queued, owned = {}, {}
for _, key in ipairs(KEYS) do
  for _, message in ipairs(redis.call('LRANGE', key, 0, -1)) do queued[#queued + 1] = message end
end
for _, key in ipairs(redis.call('KEYS', 'celerykit.owned:*')) do
  for _, job in ipairs(redis.call('HKEYS', key)) do owned[#owned + 1] = job end
end
for _, row in ipairs(redis.call('HVALS', 'celerykit.waiting.jobs')) do
  local message = string.match(row, '^%d+:[^{]*({.*)$')
  queued[#queued + 1] = message
end
local rows, index = redis.call('HKEYS', 'unacked'), redis.call('ZRANGE', 'unacked_index', 0, -1)
return {queued, rows, redis.call('HVALS', 'unacked'), index, owned}
"""
"""Everything at one instant: requests may be on their way."""


class Protocol(RuleBasedStateMachine):
    """Workers hold jobs, die, stop, come back and are taken for dead; time is what the rules say."""

    server: Server
    workers: Bundle[Consumer] = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.server.reset()
        self.bench = Bench(self.server)
        self.sent = 0
        self.done: Counter[int] = Counter()
        self.stopped: set[Consumer] = set()
        self.live: list[Consumer] = []

    @initialize(target=workers)
    def begin(self) -> Any:
        """Two workers with jobs to do are there from the start."""
        for queue in QUEUES * 2:
            self.send(queue, 0, 3)
        return multiple(self.start(1, 1), self.start(4, 3))

    @rule(target=workers, prefetch=st.integers(1, 4), slots=st.integers(0, 3))
    def start(self, prefetch: int, slots: int) -> Consumer:
        """A worker starts."""
        place = Workplace(name=f"{len(self.live)}@test", free_slots=lambda: slots, lease_seconds=3600)
        worker = self.bench.consume(*QUEUES, prefetch=prefetch, workplace=place)
        worker.renewal.beat()
        self.live.append(worker)
        self.turn(worker)
        return worker

    @rule(queue=st.sampled_from(QUEUES), rank=st.sampled_from((0, 3, 9)), number=st.integers(1, 4))
    def send(self, queue: str, rank: int, number: int) -> None:
        """Somebody sends jobs."""
        for _ in range(number):
            self.bench.send(self.sent, queue=queue, priority=rank)
            self.sent += 1

    @rule(worker=workers)
    def turn(self, worker: Consumer) -> None:
        """A worker's loop turns."""
        if worker not in self.stopped:
            worker.fetcher.ring()
            worker.turns(0.01)

    @rule(number=st.integers(0, 99))
    def acknowledge(self, number: int) -> None:
        """A job is done; the server learns it later."""
        if message := self.pick(number):
            self.done[message.payload] += 1
            message.ack()

    @rule(number=st.integers(0, 99))
    def reject(self, number: int) -> None:
        """A job is put back."""
        if message := self.pick(number):
            message.requeue()

    @rule(number=st.integers(0, 99), seconds=st.sampled_from((0.0, 3600.0)))
    def put_off(self, number: int, seconds: float) -> None:
        """A job's time has not come; the server learns it later."""
        if message := self.pick(number):
            message.channel.put_off(message, time.time() + seconds, f"job-{message.payload % 7}")

    @rule(worker=workers)
    def move_due(self, worker: Consumer) -> None:
        """The keeper moves the jobs whose time has come."""
        if worker not in self.stopped:
            worker.lease.due_jobs.move()

    @rule()
    def revoke(self) -> None:
        """Somebody revokes jobs that may wait."""
        keys = ["celerykit.revoked", "celerykit.waiting"]
        scripts.REVOKE(self.server.root, keys, [3600, 1000, '["job-1"]', '["job-2"]', '["job-8"]'])

    @rule(worker=workers)
    def flush(self, worker: Consumer) -> None:
        """The keeper sends what is settled."""
        if worker not in self.stopped:
            worker.lease.flush()

    @rule(worker=consumes(workers))
    def close(self, worker: Consumer) -> None:
        """A worker ends in order."""
        self.stopped.discard(worker)
        self.live.remove(worker)
        worker.connection.close()
        self.end_lease(worker)  # what it was given and never heard of comes back then

    @rule(worker=consumes(workers))
    def crash(self, worker: Consumer) -> None:
        """A worker is killed: neither it nor its connections do anything any more."""
        self.cut(worker)
        self.live.remove(worker)
        worker.lease.channels.clear()
        self.end_lease(worker)

    @rule(worker=workers)
    def stop(self, worker: Consumer) -> None:
        """A worker is stopped for longer than its lease lasts, but not for ever."""
        self.stopped.add(worker)
        self.end_lease(worker)

    @rule(worker=workers)
    def be_silent(self, worker: Consumer) -> None:
        """A worker is connected, and silent for longer than a lease, until another one's lease is renewed."""
        others = [other for other in self.live if other is not worker and other not in self.stopped]
        if worker not in self.stopped and worker.lease.presence.is_up and others:
            owned = self.bench.owned()
            self.server.root.zadd("celerykit.owners", {worker.lease.owner: 1}, xx=True)
            others[0].renewal.beat()
            assert self.bench.owned().get(worker.lease.owner) == owned.get(worker.lease.owner)

    @rule(worker=workers)
    def go_on(self, worker: Consumer) -> None:
        """It comes back."""
        if worker in self.stopped:
            self.stopped.discard(worker)
            worker.renewal.beat()

    @rule(worker=workers)
    def beat(self, worker: Consumer) -> None:
        """A lease is renewed; whoever has none any more is taken over."""
        if worker not in self.stopped:
            worker.renewal.beat()

    @rule(worker=workers)
    def lose_connection(self, worker: Consumer) -> None:
        """The connection breaks, maybe between a step and its answer."""
        if worker not in self.stopped:
            worker.fetcher.ring()
            worker.connection.transport.cycle.on_poll_start()
            self.cut(worker)

    @rule(worker=workers)
    def audit(self, worker: Consumer) -> None:
        """The keeper looks twice for jobs whose answer never came."""
        if worker not in self.stopped and worker.fetcher.request is None:
            worker.lease.requeuer.requeue(worker.lease.find_unknown())

    @rule()
    def forget_scripts(self) -> None:
        """The server forgets the scripts."""
        self.server.root.script_flush()

    @invariant()
    def no_job_is_lost_and_none_is_there_twice(self) -> None:
        """Accepted is queued, reserved or done; what is reserved has one owner, and a row as stock workers know it."""
        queued, rows, messages, index, owned = self.server.root.eval(LOOK, len(LISTS), *LISTS)
        there = Counter(
            [body(message) for message in queued] + [body(json.dumps(json.loads(it)[0])) for it in messages]
        )
        assert set(range(self.sent)) <= set(there) | set(self.done)
        assert not [job for job, copies in there.items() if copies > 1]
        assert sorted(rows) == sorted(index) == sorted(owned)

    def teardown(self) -> None:
        """In the end, one more worker does whatever is left."""
        for worker in list(self.live):
            self.end_lease(worker)
        heir = self.bench.consume(*QUEUES, prefetch=1000)
        heir.renewal.beat()
        while scripts.RELEASE(self.server.root, ["celerykit.waiting"], ()):
            continue
        heir.fetcher.ring()
        left = set(range(self.sent)) - set(self.done)
        heir.get(len(left), 5)
        heir.turns(0.05)
        assert left <= set(heir.bodies)
        self.bench.close()

    def pick(self, number: int) -> Any:
        """Return a job of a worker that runs, if there is one, and take it from the worker."""
        held = [(worker, job) for worker in self.live if worker not in self.stopped for job in worker.messages]
        if not held:
            return None
        worker, message = held[number % len(held)]
        worker.messages.remove(message)
        return message

    def cut(self, worker: Consumer) -> None:
        """Cut the connections of a worker's channel."""
        worker.lease.presence.close()
        bell = worker.fetcher.sources.bell
        for connection in (bell and bell.connection, worker.channel.client.connection):
            if connection is not None:
                connection.disconnect()

    def end_lease(self, worker: Consumer) -> None:
        """Let a lease be over, and patience with whoever is connected still."""
        for key in ("celerykit.owners", "celerykit.patience"):
            self.server.root.zadd(key, {worker.lease.owner: 1}, xx=True)


def body(message: bytes | str) -> int:
    """Return a message's body, a number."""
    return int(b64decode(json.loads(message)["body"]))


@pytest.mark.each_server
@pytest.mark.timeout(180)
def test_no_sequence_of_events_loses_a_job(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever workers, senders and the server do, in any order."""
    monkeypatch.setattr(Keeper, "start", lambda _: None)
    monkeypatch.setattr(renewal, "OUTAGE", 3600)
    Protocol.server = server
    run_state_machine_as_test(
        Protocol,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
