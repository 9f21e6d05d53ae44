"""Jobs that wait for their time do so on the server, whole, and are in their queues when it comes."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from celerykit.transports.redis import scripts
from celerykit.transports.redis.waiting import Room
from tests.rig.waiting import until
from tests.transport.bench import RANKS

if TYPE_CHECKING:
    from tests.transport.bench import Bench, Consumer

LONG = 3600.0


def put_off(consumer: Consumer, message: Any, seconds: float, name: str = "") -> None:
    """Have a message wait for so long, and take it from the consumer."""
    consumer.messages.remove(message)
    assert consumer.channel.put_off(message, time.time() + seconds, name or str(message.payload))


def waiting(bench: Bench, queue: str = "jobs") -> int:
    """Return how many jobs wait for their time."""
    return int(bench.root.zcard(f"celerykit.waiting:{queue}"))


def raw(bench: Bench, queue: str = "jobs") -> list[bytes]:
    """Return the messages of a queue, the next one first."""
    return list(reversed(bench.root.lrange(queue, 0, -1)))


@pytest.mark.each_server
def test_a_job_waits_as_it_came_and_is_there_in_time(bench: Bench) -> None:
    """Byte for byte, out of its worker's hands meanwhile, in the queue and rank that it was in."""
    for rank in RANKS:
        bench.send(f"later{rank}", priority=rank)
    lists = ["jobs", *(f"jobs\x06\x16{rank}" for rank in RANKS[1:])]
    came = {name: bench.root.lrange(name, 0, -1) for name in lists}
    consumer = bench.consume(prefetch=4)
    for message in list(consumer.get(4)):
        put_off(consumer, message, 1.5)
    until(lambda: consumer.turn(0.05) or not bench.reserved, 5, "put off")
    assert (consumer.messages, bench.waiting(), bench.owned()) == ([], 0, {})
    began = time.monotonic()
    consumer.channel.basic_cancel(consumer.consumer._active_tags["jobs"])
    until(lambda: {name: bench.root.lrange(name, 0, -1) for name in lists} == came, 3, "in their lists", pause=0.02)
    assert 1.0 < time.monotonic() - began < 2.2
    assert not [key for key in bench.root.keys("celerykit.waiting*") if b".due:" not in key]


def test_what_waits_takes_no_room_from_what_is_due(bench: Bench) -> None:
    """A worker with room for two goes on through any number of jobs that wait."""
    bench.send(*range(300))
    consumer = bench.consume(prefetch=2)
    end = time.monotonic() + 30
    while waiting(bench) < 300 and time.monotonic() < end:
        consumer.turn(0.05)
        for message in list(consumer.messages):
            put_off(consumer, message, LONG)
    bench.send("now")
    assert [message.payload for message in consumer.get(1, 5)] == ["now"]
    assert waiting(bench) == 300


def test_an_idle_worker_is_woken_for_what_is_due(bench: Bench) -> None:
    """Not at its next look, which may be seconds away; and whoever had put the job off may be gone."""
    putter = bench.consume()
    bench.send("later")
    put_off(putter, putter.get(1)[0], 2.0)
    due = time.monotonic() + 2.0
    putter.turns(0.3)
    putter.connection.close()
    other = bench.consume()
    other.get(1, 10)
    assert -0.1 < time.monotonic() - due < 2


def test_those_due_first_run_first_and_before_what_is_queued(bench: Bench) -> None:
    """However many, and however late: none is overtaken by one that was due after it."""
    consumer = bench.consume(prefetch=1000)
    jobs = 700
    bench.send(*range(jobs))
    first = time.time() + 8
    for message in list(consumer.get(jobs)):
        put_off(consumer, message, first + message.payload * 2 % 7 * 0.3 - time.time())
    until(lambda: consumer.turn(0.02) or waiting(bench) == jobs, 6, "put off")
    consumer.connection.close()
    until(lambda: time.time() > first + 2.2, 12, "the last one's time")
    bench.send(*(f"queued{number}" for number in range(3)))
    late = bench.consume(prefetch=1)
    while len(late.messages) < jobs + 3:
        late.get(len(late.messages) + 1, 5)
        late.messages[-1].ack()
    times = [body * 2 % 7 for body in late.bodies[:jobs]]
    assert times == sorted(times)
    assert late.bodies[jobs:] == ["queued0", "queued1", "queued2"]


def test_one_job_is_put_off_by_its_owner_alone(bench: Bench) -> None:
    """Who was taken for dead has nothing to put off; who is killed before Redis hears has put off nothing."""
    bench.send("one")
    first, second = bench.consume(), bench.consume()
    message = first.get(1)[0]
    bench.root.zadd("celerykit.owners", {first.lease.owner: 1})
    bench.root.zadd("celerykit.patience", {first.lease.owner: 1})
    first.lease.keeper.stop()
    first.lease.presence.close()
    second.get(1, 15)
    put_off(first, message, LONG)
    first.lease.flush()
    assert (waiting(bench), bench.owned()) == (0, {second.lease.owner: 1})


def test_two_messages_of_one_job_both_wait(bench: Bench) -> None:
    """A retry has the id of the job that it is one of."""
    bench.send("one", "two")
    consumer = bench.consume(prefetch=2)
    for message in list(consumer.get(2)):
        put_off(consumer, message, 1.2, "same")
    consumer.turns(0.3)
    assert waiting(bench) == 2
    assert sorted(message.payload for message in consumer.get(2, 5)) == ["one", "two"]


def test_what_is_revoked_is_due_at_once(bench: Bench) -> None:
    """So that a worker ends it now, whatever time it waits for."""
    bench.send("one", "two")
    consumer = bench.consume(prefetch=2)
    for message in list(consumer.get(2)):
        put_off(consumer, message, LONG, f"id-{message.payload}")
    consumer.turns(0.3)
    keys = [consumer.lease.keys.revoked, consumer.lease.keys.waiting]
    scripts.REVOKE(consumer.lease.client, keys, [60, 100, '["id-two"]', '["stamp", "value"]', "[7]"])
    assert [message.payload for message in consumer.get(1, 5)] == ["two"]
    assert waiting(bench) == 1


@pytest.mark.each_server
def test_a_full_server_puts_off_and_moves(bench: Bench) -> None:
    """It refuses jobs that are new, and loses none that it has."""
    bench.send("later")
    consumer = bench.consume()
    message = consumer.get(1)[0]
    bench.root.config_set("maxmemory", 1)
    put_off(consumer, message, 1.5)
    until(lambda: consumer.turn(0.05) or waiting(bench) == 1, 5, "put off")
    assert [message.payload for message in consumer.get(1, 5)] == ["later"]


@pytest.mark.each_server
def test_what_waits_survives_the_server(bench: Bench) -> None:
    """It is killed and comes back; the job is there at its time."""
    bench.send("later")
    consumer = bench.consume()
    put_off(consumer, consumer.get(1)[0], 3.0)
    until(lambda: consumer.turn(0.05) or waiting(bench) == 1, 5, "put off")
    due = time.monotonic() + 3.0
    consumer.connection.close()
    time.sleep(1.1)  # what is written is on disk after a second
    bench.server.kill()
    bench.server.start()
    other = bench.consume()
    due = max(due, time.monotonic())  # the server may take longer to come back
    assert [message.payload for message in other.get(1, 10)] == ["later"]
    assert time.monotonic() - due < 2.0


def test_all_that_waits_is_put_back_for_other_workers(bench: Bench) -> None:
    """A stock worker gets what it would have, had the kit's never been there."""
    bench.send(*range(600))
    came = raw(bench)
    consumer = bench.consume(prefetch=1000)
    for message in list(consumer.get(600)):
        put_off(consumer, message, LONG + message.payload)
    consumer.turns(0.3)
    client, key = consumer.lease.client, consumer.lease.keys.waiting
    consumer.connection.close()
    assert raw(bench) == []
    moved = []
    while number := scripts.RELEASE(client, [key], ()):
        moved.append(number)
    assert sum(moved) == 600 and raw(bench) == came
    assert not bench.root.keys("celerykit.waiting*")
    stock = bench.consume(stock=True, prefetch=600)
    assert sorted(message.payload for message in stock.get(600)) == list(range(600))


def test_those_of_a_queue_are_seen_and_dropped(bench: Bench) -> None:
    """At each rank, with nothing left of them, and none of another queue's."""
    for queue in ("jobs", "others"):
        bench.send("first", queue=queue)
        bench.send("second", queue=queue, priority=9)
    consumer = bench.consume("jobs", "others", prefetch=4)
    for message in list(consumer.get(4)):
        put_off(consumer, message, LONG)
    consumer.turns(0.3)
    room = Room(consumer.channel)
    lists = room.lists(["jobs"])
    assert room.counts(lists) == [1, 0, 0, 1]
    assert room.by_list() == dict.fromkeys(["jobs", "jobs\x06\x169", "others", "others\x06\x169"], 1)
    assert [json.loads(job.message)["properties"]["priority"] for job in room.first(lists, 1)] in ([0], [9])
    assert (room.drop("jobs"), sum(room.counts(lists)), bench.root.hlen("celerykit.waiting.jobs")) == (2, 0, 2)
    assert room.put_back() == 0, "a worker lives, and would put them off again"
    consumer.connection.close()
    assert (room.put_back(), bench.waiting("others")) == (2, 2)


def test_many_workers_move_each_job_once(bench: Bench) -> None:
    """All look at the same time."""
    jobs = 500
    bench.send(*range(jobs))
    consumers = [bench.consume(prefetch=1000) for _ in range(3)]
    for message in list(consumers[0].get(jobs)):
        put_off(consumers[0], message, 1.5)
    consumers[0].turns(0.5)
    threads = [threading.Thread(target=consumer.turns, args=[4.0]) for consumer in consumers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(body for consumer in consumers for body in consumer.bodies) == list(range(jobs))
    assert (bench.waiting(), waiting(bench)) == (0, 0)
