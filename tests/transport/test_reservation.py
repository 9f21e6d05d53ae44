"""Jobs are fetched as stock workers fetch them, but for what is better."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from celerykit.transports.redis.consumer_info import Workplace
from celerykit.transports.redis.heartbeat import Keeper
from tests.rig.waiting import until
from tests.transport.bench import RANKS

if TYPE_CHECKING:
    from tests.transport.bench import Bench, Consumer


@pytest.mark.each_server
def test_a_job_is_reserved_and_settled(bench: Bench) -> None:
    """What was sent comes, is the worker's until it is acknowledged, and leaves nothing behind."""
    bench.send("one", "two")
    consumer = bench.consume(prefetch=2)
    first, second = consumer.get(2)
    assert (bench.waiting(), bench.reserved, bench.owned()) == (0, 2, {consumer.lease.owner: 2})
    first.ack()
    second.ack()
    until(lambda: consumer.turn(0.05) or bench.reserved == 0, 30, "settled")
    assert not bench.owned()


def test_no_key_is_left_behind(bench: Bench) -> None:
    """A worker that has ended has left only what expires by itself."""
    bench.send("one")
    consumer = bench.consume()
    consumer.get(1)[0].ack()
    consumer.turn()
    consumer.connection.close()
    until(lambda: bench.root.hlen("unacked") == 0, 30, "settled")
    for key in bench.root.scan_iter("celerykit.*"):
        assert 0 < bench.root.ttl(key) <= 60, key


def test_a_message_comes_as_it_was_sent(bench: Bench) -> None:
    """Empty lists and objects, large numbers, any text: nothing is read on the way that need not be."""
    body = {"list": [], "object": {}, "number": 12345678901234567890, "text": '\x00ü"]}\\,"",\u2028', "none": None}
    bench.send(body)
    consumer = bench.consume()
    consumer.get(1)[0].requeue()
    consumer.turns(0.3)
    assert consumer.bodies == [body, body]
    assert [message.headers.get("redelivered") for message in consumer.messages] == [None, True]


@pytest.mark.each_server
@pytest.mark.parametrize("order", ["round_robin", "sorted", "priority"])
def test_the_order_is_that_of_stock_workers(bench: Bench, order: str) -> None:
    """Rank goes first, then each queue in turn: the same jobs come in the same order."""
    dice = random.Random(order)
    jobs = [(dice.choice("abc"), dice.choice(RANKS)) for _ in range(40)]
    seen = []
    for stock in (True, False):
        for number, (queue, rank) in enumerate(jobs):
            bench.send(number, queue=queue, priority=rank)
        consumer = bench.consume("b", "c", "a", prefetch=100, stock=stock, queue_order_strategy=order)
        consumer.get(len(jobs))
        seen.append(consumer.bodies)
        for message in consumer.messages:
            message.ack()
        consumer.connection.close()
    assert seen[0] == seen[1]


@pytest.mark.each_server
@pytest.mark.parametrize("queues", [1, 8])
def test_an_idle_worker_is_woken(bench: Bench, queues: int) -> None:
    """A job in any queue, of any rank, is there as soon as it is sent: in less than a beat of the lease."""
    names = [f"queue{number}" for number in range(queues)]
    consumer = bench.consume(*names, prefetch=1)
    consumer.turns(0.3)
    delays = []
    for rank in RANKS * 2:
        queue = random.choice(names)
        threading.Timer(0.1, bench.send, [time.monotonic() + 0.1], {"queue": queue, "priority": rank}).start()
        message = consumer.get(1)[0]
        delays.append(time.monotonic() - message.payload)
        consumer.messages.clear()
        message.ack()
        consumer.turns(0.05)
    assert sorted(delays)[len(delays) // 2] < 0.5, delays


def test_a_worker_may_consume_thousands_of_queues(bench: Bench) -> None:
    """As where each tenant has one: whatever waits is taken, by priority first, and what comes later, too."""
    names = [f"tenant-{number}" for number in range(2500)]
    urgent, usual = names[::250], names[1::250]
    for name in usual:
        bench.send(name, queue=name, priority=9)
    for name in urgent:
        bench.send(name, queue=name, priority=0)
    worker = bench.consume(*names, prefetch=40)
    worker.get(20)
    assert (sorted(worker.bodies[:10]), sorted(worker.bodies[10:])) == (sorted(urgent), sorted(usual))
    worker.turns(1)
    for number, name in enumerate((names[-1], names[1300])):
        bench.send(name, queue=name)
        worker.get(21 + number)


def test_many_queues_that_are_empty_cost_nothing_at_each_job(bench: Bench) -> None:
    """A request names the queues that Redis has rung for, and others until all of them were seen empty."""
    names = [f"tenant-{number}" for number in range(2500)]
    worker = bench.consume(*names, prefetch=2, workplace=Workplace(name="one@test", free_slots=lambda: 2))
    worker.turns(2.0)
    before, jobs = bench.root.info("stats")["total_net_input_bytes"], 40
    for number in range(jobs):
        bench.send(number, queue=names[number * 61], priority=3 * (number % 2))
        worker.get(1)[0].ack()
        worker.messages.clear()
    # All names are 200 KB, and the keeper looks at a fifth of them every two seconds.
    assert bench.root.info("stats")["total_net_input_bytes"] - before < jobs * 20_000
    bench.send("low", queue=names[7], priority=9)
    bench.send("high", "next", queue=names[8], priority=0)
    assert [message.payload for message in worker.get(2)] == ["high", "next"]


def test_the_jobs_of_many_queues_are_counted_at_once(bench: Bench) -> None:
    """All lists as long as any may have jobs, and then those that have changed; a backlog names no others."""
    names = [f"tenant-{number}" for number in range(2000)]
    bench.send(*range(3), queue=names[5])
    worker = bench.consume(*names, prefetch=1)
    worker.get(1)
    assert worker.channel.count(names) == 2
    worker.messages.pop().ack()
    while worker.messages or bench.waiting(names[5]) or bench.reserved:
        worker.turn(0.1)
        if worker.messages:
            worker.messages.pop().ack()
    worker.turns(1.0)
    for name in names[:20]:
        bench.send("one", queue=name)
    worker.get(1)
    bench.root.config_resetstat()
    assert worker.channel.count(names) == 19
    for _ in range(19):
        worker.fetcher.ring()  # as the keeper does that sees the rest
        worker.messages.pop().ack()
        worker.get(1)
    told = bench.root.info("commandstats")
    assert told["cmdstat_llen"]["calls"] <= 20 * len(RANKS)
    assert told["cmdstat_exists"]["calls"] < 1000, "all lists, by 25 queues at a time, for each job"


@pytest.mark.parametrize("workers", [1, 3])
def test_no_queue_is_forgotten_among_many(bench: Bench, workers: int) -> None:
    """In whichever queue jobs come or come back, whoever is at the door and whatever else is done meanwhile."""
    names = [f"tenant-{number}" for number in range(300)]
    consumers = [
        bench.consume(*names, prefetch=1, workplace=Workplace(name=f"{number}@test", free_slots=lambda: 1))
        for number in range(workers)
    ]
    for consumer in consumers:
        consumer.turns(0.3)
    slow, came = 0, []

    def take(seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for consumer in consumers:
                consumer.turn(0.01)
                if consumer.messages:
                    came.append((consumer, consumer.messages.pop()))
                    return True
        return False

    for number in range(60):
        queue = random.choice(names)
        bench.send(number, queue=queue, priority=random.choice(RANKS))
        slow += not take(1.0) and take(10.0)
        consumer, message = came[-1]
        match number % 4:
            case 0:
                message.requeue()
                slow += not take(1.0) and take(10.0)
                came[-1][1].ack()
            case 1:
                consumer.channel.put_off(message, time.time() + 0.3, str(number))
                slow += not take(2.0) and take(10.0)
                came[-1][1].ack()
            case 2:
                consumer.channel.put_back(message, lambda headers: None, random.choice(names))
                slow += not take(1.0) and take(10.0)
                came[-1][1].ack()
            case _:
                message.ack()
    assert len(came) == 60 + 45
    assert slow < 3, "they were found by a look, not by a bell"


def test_what_a_request_moves_itself_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis does not ring for what a connection changes itself: a job whose time has come, for another queue."""
    monkeypatch.setattr(Keeper, "start", lambda _: None)
    consumer = bench.consume("waits", "rings", prefetch=2, workplace=Workplace(name="one@test", free_slots=lambda: 2))
    bench.send("later", queue="waits")
    message = consumer.get(1)[0]
    consumer.lease.due_jobs.move()
    consumer.messages.clear()
    consumer.channel.put_off(message, time.time() + 0.5, "later")
    consumer.turns(1.0)
    assert not consumer.messages
    bench.send("now", queue="rings")
    assert sorted(message.payload for message in consumer.get(2, 5)) == ["later", "now"]


def test_an_idle_worker_takes_only_what_it_can_start(bench: Bench) -> None:
    """Of four jobs two idle workers with two slots get two each, however many more they may prefetch."""
    consumers: list[Consumer] = []
    for number, name in enumerate(("one", "two")):
        slots = Workplace(name=name, free_slots=lambda it=number: 2 - len(consumers[it].messages))
        consumers.append(bench.consume(prefetch=8, workplace=slots))
    for consumer in consumers:
        consumer.turns(0.2)
    bench.send(*range(4))
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for consumer in consumers:
            consumer.turn(0.02)
    assert [len(consumer.messages) for consumer in consumers] == [2, 2]


def test_a_busy_worker_prefetches_what_nobody_else_could_start(bench: Bench) -> None:
    """With nobody idle, a worker fills its prefetch in one go."""
    consumer = bench.consume(prefetch=8, workplace=Workplace(name="one", free_slots=lambda: 2))
    bench.send(*range(20))
    consumer.get(8)
    consumer.turns(0.2)
    assert len(consumer.messages) == 8


@pytest.mark.each_server
def test_idle_workers_share_the_jobs_that_come_at_once(bench: Bench) -> None:
    """Whoever is woken wakes the next: jobs that come at once are started at once."""
    workers = [bench.start(seconds=3, name=f"worker{number}@test") for number in range(6)]
    for worker in workers:
        worker.wait("ready")
    time.sleep(1)
    bench.send(*range(6))
    until(lambda: sum(len(worker.lines("got")) for worker in workers) == 6, 2.5, "all started")
    assert [len(worker.lines("got")) for worker in workers] == [1] * 6


def test_a_rejected_job_goes_to_the_end_of_its_queue(bench: Bench) -> None:
    """As in stock: what is put back for later waits behind the others."""
    bench.send("one", "two")
    consumer = bench.consume()
    consumer.get(1)[0].requeue()
    consumer.get(2)[1].ack()
    assert [message.payload for message in consumer.get(3)] == ["one", "two", "one"]


def test_what_a_closed_channel_held_is_next(bench: Bench) -> None:
    """Closed in order, a worker puts its jobs back in front, in the order in which they came."""
    bench.send(*"abcd")
    consumer = bench.consume(prefetch=3)
    consumer.get(3)
    consumer.connection.close()
    assert (bench.waiting(), bench.reserved) == (4, 0)
    assert [message.payload for message in bench.consume(prefetch=4).get(4)] == ["a", "b", "c", "d"]


def test_one_job_can_be_got(bench: Bench) -> None:
    """Without a consumer a job is taken, or not, and held the same."""
    bench.send("one")
    channel = bench.connect().channel()
    message = channel.basic_get("jobs")
    assert (message.payload, bench.reserved) == ("one", 1)
    message.ack()
    assert channel.basic_get("jobs") is None
    channel.lease.flush()
    assert bench.reserved == 0


def test_what_needs_no_acknowledgement_is_done_with_when_it_comes(bench: Bench) -> None:
    """Replies and the like are nobody's to give back, alone or beside jobs."""
    consumer = bench.consume(prefetch=4)
    replies: list[object] = []
    from kombu import Queue

    with consumer.connection.Consumer(
        [Queue("replies")], on_message=replies.append, no_ack=True, channel=consumer.channel
    ):
        bench.send("reply", queue="replies")
        bench.send("job")
        consumer.get(1)
        until(lambda: consumer.turn(0.1) or replies, 30, "the reply")
        until(lambda: consumer.turn(0.1) or bench.reserved == 1, 30, "the reply is settled")


def test_what_is_no_message_goes_to_the_dead_letters(bench: Bench) -> None:
    """Text that somebody has pushed by hand stops no worker and is kept."""
    bench.root.lpush("jobs", "what is this?", '["nor this"]')
    bench.send("job")
    consumer = bench.consume(prefetch=3)
    assert consumer.get(1)[0].payload == "job"
    until(lambda: bench.root.llen("celerykit.dead-letters") == 2, 30, "both kept")
    assert sorted(bench.root.lrange("celerykit.dead-letters", 0, -1)) == [b'["nor this"]', b"what is this?"]
    assert bench.reserved == 1


def test_large_jobs_are_not_fetched_by_the_dozen(bench: Bench) -> None:
    """A reservation ends with the job that makes it a mebibyte; the rest comes with the next ones."""
    bench.send(*(str(number) * 700_000 for number in range(6)))
    consumer = bench.consume(prefetch=100)
    consumer.turn()
    assert bench.reserved <= 4
    assert [message.payload[0] for message in consumer.get(6)] == [str(number) for number in range(6)]


def test_a_key_prefix_is_kept(bench: Bench) -> None:
    """Everything of an app with a prefix of its own lies under that."""
    prefix = {"global_keyprefix": "mine."}
    producer = bench.connect(stock=True, **prefix).Producer()
    consumer = bench.consume(**prefix)
    producer.publish("job", routing_key="jobs", serializer="json")
    consumer.get(1)[0].requeue()
    consumer.get(2)[1].ack()
    consumer.turn()
    strangers = [key for key in bench.root.scan_iter() if not key.startswith((b"mine.", b"_kombu."))]
    assert not strangers
    assert bench.root.hlen("mine.unacked") == 0


def test_what_is_put_back_or_given_up_stays_under_its_prefix(bench: Bench) -> None:
    """A job that goes back, changed, is in its own list of its own rank; a dead letter is beside it."""
    prefix = {"global_keyprefix": "mine."}
    consumer = bench.consume(**prefix)
    bench.connect(stock=True, **prefix).Producer().publish("job", routing_key="jobs", serializer="json", priority=6)
    first = consumer.get(1)[0]
    first.channel.put_back(first, lambda headers: headers.update(times=1))
    again = consumer.get(2)[1]
    assert (again.payload, again.headers["times"], again.properties["priority"]) == ("job", 1, 6)
    again.channel.put_back(again, lambda headers: headers.update(times=2), "celerykit.dead-letters")
    (letter,) = map(json.loads, bench.root.lrange("mine.celerykit.dead-letters", 0, -1))
    assert (letter["body"], letter["headers"]["times"]) == (first._raw["body"], 2)
    assert bench.root.hlen("mine.unacked") == 0


def test_a_cancelled_queue_keeps_its_jobs(bench: Bench) -> None:
    """What is on its way when the last consumer goes is back in its queue, unmarked as done."""
    consumer = bench.consume(prefetch=4)
    consumer.turns(0.3)
    bench.send("one", "two")
    consumer.fetcher.ring()
    consumer.connection.transport.cycle.on_poll_start()
    consumer.consumer.cancel()
    until(lambda: bench.waiting() == 2, 30, "both are back")
    assert not consumer.messages
    consumer.consumer.consume()
    assert [message.payload for message in consumer.get(2)] == ["one", "two"]
