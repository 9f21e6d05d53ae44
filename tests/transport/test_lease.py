"""A job has one owner at a time, and is never without one that lives."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from kombu import Exchange, Queue

from celerykit.messages import dead_letters
from celerykit.transports.redis import messages
from celerykit.transports.redis.consumer_info import Workplace
from celerykit.transports.redis.heartbeat import Keeper
from celerykit.transports.redis.takeover import CLOSED
from celerykit.worker.leases import is_held
from tests.rig.waiting import until
from tests.transport.bench import TAKEOVER

if TYPE_CHECKING:
    from tests.transport.bench import Bench


@pytest.mark.each_server
def test_the_jobs_of_a_killed_worker_are_taken_over(bench: Bench) -> None:
    """Within 10 s another has them, marked as redelivered, and counted as what may have killed it."""
    bench.send("one", "two")
    victim = bench.start(prefetch=2, seconds=60)
    victim.wait("got")
    heir = bench.consume(prefetch=2)
    victim.kill()
    began = time.monotonic()
    messages = heir.get(2, TAKEOVER)
    assert time.monotonic() - began < TAKEOVER
    assert [message.payload for message in messages] == ["one", "two"]
    assert all(message.headers["redelivered"] and dead_letters.deliveries(message) == 2 for message in messages)


@pytest.mark.each_server
def test_a_job_that_holds_the_interpreter_runs_once(bench: Bench) -> None:
    """No thread of its worker can say that it lives, for longer than two leases; others wait for its death in vain."""
    bench.send("one")
    holder = bench.start(seconds=14, holds=True)
    holder.wait("got")
    heir = bench.consume()
    heir.turns(12)
    holder.wait("done")
    heir.turns(1.5)
    assert not heir.messages
    assert bench.reserved == 0


def test_a_worker_that_is_killed_in_a_job_that_held_it_is_taken_over(bench: Bench) -> None:
    """It had been silent for longer than a lease before; its death is told within 10 s all the same."""
    bench.send("one")
    holder = bench.start(seconds=60, holds=True)
    holder.wait("got")
    heir = bench.consume()
    heir.turns(9)
    assert not heir.messages
    holder.kill()
    heir.get(1, TAKEOVER)


def test_a_child_that_outlives_its_worker_keeps_no_job(bench: Bench) -> None:
    """It has inherited each connection of the worker that was killed, and says nothing for it."""
    bench.send("one")
    victim = bench.start(seconds=60, forks=True)
    victim.wait("got")
    heir = bench.consume()
    victim.kill()
    try:
        heir.get(1, TAKEOVER)
    finally:
        os.kill(int(victim.lines("child")[0]), signal.SIGKILL)


@pytest.mark.each_server
def test_a_worker_that_stands_still_is_taken_over_in_the_end(bench: Bench) -> None:
    """Stopped, it is connected still; after as long as its own patience says, another has its job."""
    bench.send("one")
    still = bench.start(seconds=60, patience=14)
    still.wait("got")
    heir = bench.consume()
    still.signal("SIGSTOP")
    heir.turns(11)
    assert not heir.messages
    heir.get(1, TAKEOVER)


def test_a_worker_whose_presence_is_cut_has_another(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Within a second or two; until then its lease speaks for it."""
    consumer = bench.consume()
    bench.send("one")
    consumer.get(1)
    channel = consumer.lease.keys.present + consumer.lease.owner
    for _ in range(2):
        bench.root.client_kill_filter(_type="pubsub", skipme=True)
        until(lambda: bench.root.pubsub_numsub(channel)[0][1] == 1, 10, "present again")
    assert "lease" not in caplog.text


@pytest.mark.each_server
def test_a_worker_that_comes_back_takes_up_its_own_at_once(bench: Bench) -> None:
    """Started again under its name, it waits for no lease of its former self to end."""
    bench.send("one")
    victim = bench.start(name="same@test", seconds=60, lease=120)
    victim.wait("got")
    victim.kill()
    again = bench.start(name="same@test")
    assert again.wait("done", seconds=60)


def test_a_worker_of_the_same_name_that_lives_keeps_its_jobs(bench: Bench) -> None:
    """A name given twice takes no job from whoever is connected."""
    bench.send("one")
    first = bench.start(name="same@test", seconds=8)
    first.wait("got")
    second = bench.start(name="same@test")
    second.wait("ready")
    first.wait("done")
    time.sleep(1)
    assert not second.lines("got")


def test_a_job_sent_to_a_stopped_worker_is_not_lost(bench: Bench) -> None:
    """Stopped, published to, killed: what loses a job in stock Celery, each time."""
    victim = bench.start()
    victim.wait("ready")
    time.sleep(0.5)
    victim.signal("SIGSTOP")
    bench.send("one", "two")
    time.sleep(0.2)
    victim.kill()
    heir = bench.start()
    heir.wait("done", 2, TAKEOVER)


def test_who_was_taken_for_dead_cannot_settle_for_the_new_owner(bench: Bench) -> None:
    """Its acknowledgement is told to be late, and the second run goes on undisturbed."""
    bench.send("one")
    paused = bench.start(seconds=1.0, patience=3)
    paused.wait("got")
    paused.signal("SIGSTOP")
    heir = bench.consume()
    message = heir.get(1, TAKEOVER)[0]
    paused.signal("SIGCONT")
    paused.wait("done")
    time.sleep(1.5)
    assert bench.owned() == {heir.lease.owner: 1}
    assert bench.reserved == 1
    message.ack()
    until(lambda: heir.turn(0.1) or bench.reserved == 0, 30, "settled")


def test_what_everybody_gets_is_nobody_s_job(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A broadcast that each worker has run once is not said to have run twice, and never another worker's."""
    news = Exchange("news", type="fanout")
    readers = [bench.consume("jobs", Queue(name, news)) for name in ("one", "other")]
    for reader in readers:
        reader.turns(0.5)
    counted = {dead_letters.DELIVERIES: 1}  # of a job that had died, and sends this with the headers of its own
    bench.producer.publish("hello", exchange=news, serializer="json", declare=[news], headers=counted)
    for reader, settle in zip(readers, (readers[0].channel.ack_now, lambda message: message.ack()), strict=True):
        (message,) = reader.get(1)
        assert is_held(message)
        assert settle(message) in (True, None)
        reader.turns(1.5)
        assert reader.lease.outbox.late == 0
    assert "twice" not in caplog.text


def test_a_job_longer_than_the_visibility_timeout_runs_once(bench: Bench) -> None:
    """12 s with a visibility timeout of 5 s, and stock workers that look for overdue jobs beside it."""
    bench.send("long")
    worker = bench.start(seconds=12, visibility_timeout=5)
    worker.wait("got")
    others = [bench.start(visibility_timeout=5, stock=stock) for stock in (True, False)]
    worker.wait("done")
    time.sleep(1.5)
    assert not any(other.lines("got") for other in others)
    assert bench.reserved == 0


def test_jobs_of_a_dead_stock_worker_wait_for_the_visibility_timeout(bench: Bench) -> None:
    """Nothing but time tells that it is dead; then the kit's workers put its jobs back as stock ones do."""
    bench.send("one")
    victim = bench.start(stock=True, seconds=60)
    victim.wait("got")
    victim.kill()
    began = time.monotonic()
    consumer = bench.consume(visibility_timeout=3)
    consumer.get(1)
    assert 1.5 < time.monotonic() - began < 8


def test_running_jobs_outlast_a_connection(bench: Bench) -> None:
    """After a reconnect what runs is still this worker's, and what did not run yet is back in its queue."""
    running: list[str] = []
    workplace = Workplace(name="one@test", running=lambda: running)
    bench.send("runs", "waits")
    consumer = bench.consume(prefetch=2, workplace=workplace)
    runs = consumer.get(2)[0]
    running.append(runs.delivery_tag)
    bench.root.client_kill_filter(_type="normal", skipme=True)
    consumer.connection.close()
    again = bench.consume(prefetch=2, workplace=workplace)
    assert again.get(1)[0].payload == "waits"
    again.turns(8)
    assert len(again.messages) == 1
    runs.ack()
    again.messages[0].ack()
    until(lambda: again.turn(0.1) or bench.reserved == 0, 30, "both are settled")
    assert again.lease.outbox.late == 0


def test_an_end_that_redis_has_heard_of_is_no_second_run(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It is told once more, for the answer was cut off; nobody else had the job."""
    caplog.set_level("INFO")
    consumer = bench.consume()
    bench.send("one")
    consumer.get(1)[0].ack()
    consumer.connection.transport.cycle.on_poll_start()
    until(lambda: bench.reserved == 0, 30, "settled")
    consumer.channel.client.connection.disconnect()
    consumer.turns(1.5)
    assert consumer.lease.outbox.late == 0
    assert "ran twice" not in caplog.text
    assert "had heard of their end" in caplog.text


def test_a_job_that_is_left_to_its_new_owner_did_not_run(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever was taken for dead and begins nothing of it has run nothing twice; nor has the server that lost it."""
    consumer = bench.consume(prefetch=2)
    bench.send("one", "two")
    message, other = consumer.get(2)
    bench.root.delete("unacked", "celerykit.owners", f"celerykit.owned:{consumer.lease.owner}")
    until(lambda: consumer.lease.lost, 30, "known as lost")
    assert "as after a failover" in caplog.text
    assert "taken for dead" not in caplog.text
    consumer.channel.forget(message)
    consumer.turns(1.5)
    assert consumer.lease.outbox.late == 0
    other.ack()
    assert consumer.lease.outbox.late == 1
    assert "1 jobs that ended here were not this worker's" in caplog.text


def test_an_answer_that_never_came_gives_its_jobs_back(bench: Bench) -> None:
    """A connection that breaks between the server's step and its answer costs some seconds, and no job."""
    consumer = bench.consume(prefetch=2)
    consumer.turns(0.3)
    bench.send("one", "two")
    consumer.fetcher.ring()
    consumer.connection.transport.cycle.on_poll_start()
    until(lambda: bench.reserved == 2, 30, "reserved")
    consumer.channel.client.connection.disconnect()
    assert [message.payload for message in consumer.get(2, 20)] == ["one", "two"]
    assert bench.reserved == 2


def test_a_worker_without_progress_loses_its_jobs(bench: Bench) -> None:
    """The lease is kept for a worker that lives, not for a process that exists."""
    alive = [True]
    stuck = bench.consume(workplace=Workplace(name="stuck@test", is_alive=lambda: alive[0]))
    bench.send("one")
    stuck.get(1)
    heir = bench.consume()
    heir.turns(7.5)
    assert not heir.messages
    alive[0] = False
    heir.get(1, TAKEOVER)


def test_a_lost_job_is_known_before_it_runs(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """What was given to others while this worker was paused need not be begun here."""
    alive = [True]
    paused = bench.consume(workplace=Workplace(name="paused@test", is_alive=lambda: alive[0]))
    bench.send("one")
    job = paused.get(1)[0].delivery_tag
    alive[0] = False
    bench.consume().get(1, TAKEOVER)
    alive[0] = True
    until(lambda: job in paused.lease.lost, 30, "known as lost")
    assert "was not heard of for" in caplog.text
    assert "give each machine" not in caplog.text


def test_an_outage_takes_no_job_from_anybody(bench: Bench) -> None:
    """A server that answers nobody for longer than a lease lasts has not seen anybody die."""
    bench.send("one")
    worker = bench.start(seconds=14)
    worker.wait("got")
    heir = bench.start()
    heir.wait("ready")
    bench.server.signal("SIGSTOP")
    time.sleep(9)
    bench.server.signal("SIGCONT")
    worker.wait("done")
    time.sleep(1)
    assert not heir.lines("got")


CLOCK_STEP = """
local step, time = tonumber(ARGV[1]), redis.call('TIME')
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 and left <= step * 1000 then
    redis.call('DEL', key)
  elseif left >= 0 then
    redis.call('PEXPIRE', key, left - step * 1000)
  end
  local kind = redis.call('TYPE', key).ok
  if kind == 'zset' then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -step, member) end
  elseif key == 'celerykit.clock' and redis.call('EXISTS', key) == 1 then
    redis.call('SET', key, redis.call('GET', key) - step, 'KEEPTTL')
  end
end
"""
"""Moves all that the server has written down of time, as if its clock had been set: its real one is this machine's."""


@pytest.mark.parametrize("step", [3600, -3600], ids=["forward", "back"])
def test_a_step_of_the_servers_clock_takes_no_job_from_anybody(bench: Bench, step: int) -> None:
    """Set forward or back by an hour: who lives keeps its job, who dies then loses it as soon as ever."""
    bench.send("long", "taken over")
    living = bench.start(seconds=14)
    living.wait("got")
    dead = bench.start(seconds=60)
    dead.wait("got")
    heir = bench.consume()
    bench.root.eval(CLOCK_STEP, 0, step)
    dead.kill()
    assert [message.payload for message in heir.get(1, TAKEOVER)] == dead.lines("got")
    living.wait("done")
    heir.turns(1.5)
    assert len(heir.messages) == 1


def test_a_step_of_a_workers_clock_is_nothing_to_the_others(bench: Bench) -> None:
    """A worker whose clock goes wrong by a day keeps its job, and takes nobody else's."""
    bench.send("one", "two")
    wrong = bench.start(seconds=9, clock_steps=86_400)
    wrong.wait("got")
    right = bench.start(seconds=9)
    right.wait("got")
    heir = bench.consume()
    for worker in (wrong, right):
        worker.wait("done")
    heir.turns(1.5)
    assert not heir.messages
    assert bench.reserved == 0


def test_two_that_see_the_same_death_put_a_job_back_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have read what the dead worker had; whoever is second finds nothing to do."""
    monkeypatch.setattr(Keeper, "start", lambda _: None)
    bench.send("one", "two")
    dead = bench.consume(prefetch=2)
    dead.get(2)
    heirs = [bench.consume("elsewhere").lease for _ in range(2)]
    owner = dead.lease.owner
    found = [
        messages.read(heir.client, heir.keys, owner, messages.owned(heir.client, heir.keys, owner)) for heir in heirs
    ]
    dead.lease.presence.close()
    bench.root.zadd("celerykit.owners", {dead.lease.owner: 1})
    back = [
        messages.requeue(heir.client, heir.keys, owner, "over", messages.FIRST, jobs)
        for heir, jobs in zip(heirs, found, strict=True)
    ]
    assert (back, bench.waiting(), bench.reserved) == ([2, 0], 2, 0)


def test_nothing_is_taken_from_a_worker_that_has_come_back(bench: Bench) -> None:
    """Its lease was over when somebody looked, and is renewed when he acts: then nothing happens."""
    bench.send("one")
    consumer = bench.consume()
    consumer.get(1)
    heir = bench.consume("elsewhere").renewal.takeover
    assert heir.take_over(consumer.lease.owner, "over", CLOSED) == 0
    assert heir.take_over(consumer.lease.owner, "gone", CLOSED) == 0
    assert (bench.waiting(), bench.owned()) == (0, {consumer.lease.owner: 1})


def test_only_what_had_begun_counts_against_a_job(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job beside one that kills its workers is suspected once, when nobody can know; the other soon waits."""
    monkeypatch.setattr(Keeper, "start", lambda _: None)
    heir = bench.consume("elsewhere").renewal.takeover
    bench.send("poison", "innocent")
    for deaths in range(4):
        victim = bench.consume(prefetch=2)
        jobs = {message.payload: message for message in victim.get(2)}
        assert {body: dead_letters.deliveries(message) for body, message in jobs.items()} == {
            "poison": deaths + 1,
            "innocent": min(deaths, 1) + 1,
        }
        assert [bool(message.headers.get("eta")) for message in jobs.values()] == [deaths > 1, False]
        assert victim.lease.begin(jobs["poison"].delivery_tag)
        bench.root.zadd("celerykit.owners", {victim.lease.owner: 1})
        assert heir.take_over(victim.lease.owner, "over", CLOSED) == 2


def test_a_keeper_survives_what_nobody_has_foreseen(bench: Bench) -> None:
    """An error of any kind is told, and the lease is kept on."""
    asked = []

    def is_alive() -> bool:
        asked.append(True)
        if len(asked) == 2:
            raise ZeroDivisionError("unforeseen")
        return True

    consumer = bench.consume(workplace=Workplace(name="one@test", is_alive=is_alive))
    bench.send("one")
    consumer.get(1)
    consumer.turns(8)
    assert len(asked) > 4
    assert bench.root.zscore("celerykit.owners", consumer.lease.owner) > time.time()
