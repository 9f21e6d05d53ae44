"""What servers and networks do to a worker costs time, and no job."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
import redis

from celerykit.errors import ConfigurationError
from celerykit.transports.redis import heartbeat, permissions
from celerykit.transports.redis.consumer_info import Workplace
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.transport.bench import Bench, Consumer


def settle(bench: Bench, consumer: Consumer) -> None:
    """Acknowledge all and see it settled."""
    for message in consumer.messages:
        if not message.acknowledged:
            message.ack()
    until(lambda: consumer.turn(0.1) or bench.reserved == 0, 30, "settled")


@pytest.mark.each_server
def test_a_server_that_forgot_the_scripts_is_told_again(bench: Bench) -> None:
    """A flush of scripts, as a restart or a failover means, goes by unnoticed."""
    consumer = bench.consume(prefetch=2)
    consumer.turns(0.3)
    bench.root.script_flush()
    bench.send("one")
    consumer.get(1, 3)
    bench.root.script_flush()
    settle(bench, consumer)


@pytest.mark.each_server
def test_a_full_server_is_drained(bench: Bench) -> None:
    """Where nothing can be sent any more, jobs still come, are settled, and are nobody else's meanwhile."""
    bench.send(*range(200))
    consumer = bench.consume(prefetch=50)
    consumer.get(50)
    bench.root.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        bench.send("refused")
    time.sleep(8)
    assert consumer.lease.owner.encode() in bench.root.zrange("celerykit.owners", 0, -1)
    for expected in (100, 150, 200):
        for message in consumer.messages:
            if not message.acknowledged:
                message.ack()
        consumer.get(expected)
    settle(bench, consumer)
    assert consumer.bodies == list(range(200))
    assert consumer.lease.outbox.late == 0


def test_a_read_only_server_is_waited_for(bench: Bench) -> None:
    """An error for the worker to connect anew by, as after a failover; then its acknowledgements are still known."""
    bench.send("one", "two")
    consumer = bench.consume()
    message = consumer.get(1)[0]
    bench.root.replicaof("127.0.0.1", "1")
    message.ack()
    with pytest.raises(redis.exceptions.RedisError):
        consumer.turns(3)
    bench.root.replicaof("NO", "ONE")
    consumer.get(2)
    settle(bench, consumer)
    assert consumer.bodies == ["one", "two"]


@pytest.mark.each_server
def test_a_killed_server_keeps_every_job(bench: Bench) -> None:
    """Restarted from its log it knows who owns what; a worker in another process goes on by itself."""
    bench.send("one", "two", "three")
    consumer = bench.consume(prefetch=2)
    first, second = consumer.get(2)
    bench.server.kill()
    first.ack()
    bench.server.start()
    with pytest.raises(redis.exceptions.RedisError):
        consumer.turns(3)
    consumer.get(3, 20)
    assert consumer.bodies == ["one", "two", "three"]
    second.ack()
    settle(bench, consumer)


def test_what_a_worker_held_goes_back_after_an_outage(bench: Bench) -> None:
    """Closed while the server is away, as Celery does before it connects anew, a channel keeps no job to itself."""
    workplace = Workplace(name="one@test")
    bench.send("one", "two")
    consumer = bench.consume(prefetch=2, workplace=workplace)
    consumer.get(2)
    bench.server.kill()
    consumer.connection.close()
    bench.server.start()
    again = bench.consume(prefetch=2, workplace=workplace)
    again.get(2, 8)
    assert again.bodies == ["one", "two"]
    settle(bench, again)


def test_all_connections_are_cut_under_load(bench: Bench) -> None:
    """Cut again and again between step and answer: every job is done."""
    worker = bench.start(prefetch=4, reconnects=True)
    worker.wait("ready")
    sent = []
    for number in range(12):
        sent += [f"{number}.{each}" for each in range(50)]
        bench.send(*sent[-50:])
        bench.root.client_kill_filter(_type="normal", skipme=True)
        bench.root.client_kill_filter(_type="pubsub", skipme=True)
        bench.producer.connection.close()
        bench.producer = bench.connect(stock=True).Producer()
    until(lambda: set(sent) <= set(worker.lines("done")), 60, lambda: f"{len(set(worker.lines('done')))} done")
    until(lambda: bench.reserved == 0, 30, "all settled")


def test_a_bell_whose_answer_was_not_read_yet_is_kept(bench: Bench) -> None:
    """A job that held up its worker has kept it from hearing a connection that works."""
    consumer = bench.consume()
    consumer.turns(0.3)
    bell = consumer.fetcher.sources.bell
    assert not bell.is_dead(patience=0)
    until(lambda: bell.connection.can_read(timeout=0), 30, "the answer is there")
    assert not bell.is_dead(patience=0)


@pytest.mark.each_server
def test_a_database_that_is_emptied_breaks_no_connection(bench: Bench) -> None:
    """Another one of the server, as a cache's; Redis says so to all who watch any key."""
    consumer = bench.consume()
    consumer.turns(0.5)
    connection = consumer.channel.client.connection._sock
    with bench.root.client() as other:
        other.execute_command("SELECT", 5)
        other.flushdb()
        consumer.turns(0.5)
        bench.send("one")
        consumer.get(1, 1)
        other.flushdb()
        other.execute_command("SELECT", 0)
    consumer.messages[0].ack()
    until(lambda: consumer.turn(0.1) or bench.reserved == 0, 5, "settled")
    assert consumer.channel.client.connection._sock is connection


def test_a_bell_that_is_dead_is_noticed(bench: Bench) -> None:
    """A job is there within a second or two, though the connection that should tell of it is cut in silence."""
    consumer = bench.consume()
    consumer.turns(0.3)
    bell = consumer.fetcher.sources.bell.connection
    bell._sock, _other_end = socket.socketpair()
    consumer.fetcher.sources._hung_on = (consumer.channel.client.connection._sock, bell._sock)
    bench.send("one")
    consumer.get(1, 4)


@pytest.mark.each_server
def test_the_kits_own_users_may_do_all_that_it_takes(bench: Bench) -> None:
    """The users that images and role set up are asked for nothing more."""
    lease = bench.consume().lease
    permissions.require(lease.client, lease.keys)


@pytest.mark.each_server
@pytest.mark.parametrize("command", ["zpopmin", "client|tracking", "pubsub|numsub", "hmget", "evalsha"])
def test_a_user_that_may_not_is_told_what_is_missing(bench: Bench, command: str) -> None:
    """Before the first job, with the command that grants it."""
    if "|" in command and bench.root.info("server")["redis_version"].startswith("6."):
        pytest.skip("Redis 6 cannot forbid a part of a command")
    bench.root.execute_command("ACL", "SETUSER", "celery", f"-{command}")
    with pytest.raises(ConfigurationError) as refused:
        bench.consume()
    assert f"ACL SETUSER celery +{command}" in str(refused.value)


def test_a_user_that_is_shut_out_comes_back(bench: Bench) -> None:
    """Refused for a while in the middle of its work, a worker goes on when it is let in again."""
    bench.send("one", "two")
    consumer = bench.consume()
    message = consumer.get(1)[0]
    bench.root.execute_command("ACL", "SETUSER", "celery", "off")
    bench.root.client_kill_filter(_type="normal", skipme=True)
    message.ack()
    with pytest.raises((redis.exceptions.RedisError, OSError)):
        consumer.turns(3)
    bench.root.execute_command("ACL", "SETUSER", "celery", "on")
    consumer.get(2)
    settle(bench, consumer)


@pytest.mark.each_server
def test_a_server_that_fills_up_is_said_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond four fifths of its memory, before it refuses a job; and again when it has had room meanwhile."""
    monkeypatch.setattr(heartbeat, "WEIGH", 0.1)
    consumer = bench.consume()
    for used, times in ((0.9, 1), (0.5, 1), (0.9, 2)):
        bench.root.config_set("maxmemory", int(bench.root.info("memory")["used_memory"] / used))
        consumer.turns(1.5)
        assert caplog.text.count("of its maxmemory") == times, caplog.text


def test_a_user_that_may_not_ask_for_the_memory_works_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alert is left out, the lease is kept."""
    monkeypatch.setattr(heartbeat, "WEIGH", 0.1)
    bench.root.execute_command("ACL", "SETUSER", "celery", "-info")
    consumer = bench.consume()
    consumer.turns(1)
    bench.send("one")
    consumer.get(1)
    settle(bench, consumer)
