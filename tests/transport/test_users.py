"""The broker's user and the user of results: each may do what Celery does as it, and nothing to what the other has."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import Celery, _state
from celery.app.task import Context
from celery.result import AsyncResult, GroupResult
from redis.exceptions import NoPermissionError

from celerykit import releases
from tests.rig.client import results_of
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.transport.server import Server

RESULTS = ("celery-task-meta-", "celery-taskset-meta-")
RESULT, CHORD = RESULTS[0] + "1", RESULTS[1] + "2.j"
QUEUES = ("celery", "c", "cel", "mails", "celery-", "celery-task", "celery-tasks", "celery-task-mails", "tasks-meta-1")
QUEUES += ("celery-taskset", "celery-tasksets", "celery-taskset-meta", "celery-task-metal", "celery\x06\x163")
ORDERED: dict[str, Any] = {}
UNORDERED = {"result_chord_ordered": False, "global_keyprefix": "shop"}
TAKE = (("LRANGE", 0, -1), ("LLEN",), ("RPOP",), ("DEL",), ("GET",), ("SET", "x"), ("EXISTS",), ("EXPIRE", 1))
WORDS = ("FLUSHDB", "KEYS *", "SCAN 0", "CONFIG GET *", "ACL LIST", "EVAL 'return 1' 0", "MONITOR", "SHUTDOWN")

pytestmark = pytest.mark.each_server


@pytest.fixture
def broker(server: Server) -> Iterator[redis.Redis]:
    """Who has the broker's URL."""
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def results(server: Server) -> Iterator[redis.Redis]:
    """Who has the URL of the results."""
    with redis.Redis.from_url(results_of(server.url)) as client:
        yield client


@pytest.fixture(params=[ORDERED, UNORDERED], ids=["ordered", "unordered, under a prefix"])
def app(request: pytest.FixtureRequest, server: Server) -> Iterator[Celery]:
    """An app whose jobs and results are there."""
    app = Celery("any", broker=server.url, backend=results_of(server.url), set_as_current=False)
    app.conf.result_backend_transport_options = request.param
    yield app
    app.close()


def refused(client: redis.Redis, *command: Any) -> bool:
    """Say whether a command is refused for want of rights."""
    try:
        client.execute_command(*command)
    except NoPermissionError:
        return True
    except redis.ResponseError:
        return False
    return False


def test_the_user_of_results_may_do_all_that_the_backend_does(app: Celery) -> None:
    """Results are stored, heard of, read one by one and together, forgotten; groups are saved, restored and deleted."""
    backend, job, other = app.backend, str(uuid.uuid4()), str(uuid.uuid4())
    waiting = AsyncResult(job, app=app)
    later = threading.Timer(0.5, lambda: backend.store_result(job, 5, "SUCCESS"))
    later.start()
    assert waiting.get(timeout=10) == 5
    later.join()
    backend.store_result(other, ValueError("reason"), "FAILURE")
    together = GroupResult("g", [AsyncResult(job, app=app), AsyncResult(other, app=app)], app=app)
    assert {state["status"] for _, state in together.iter_native(timeout=10)} == {"SUCCESS", "FAILURE"}
    together.save()
    assert GroupResult.restore("g", app=app).children == together.children
    together.delete()
    assert GroupResult.restore("g", app=app) is None
    backend.result_consumer._reconnect_pubsub()
    waiting.forget()
    assert backend.get(backend.get_key_for_task(job)) is None


def test_the_user_of_results_may_count_a_chord(server: Server, app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its callback is sent once, with what the jobs returned; one that grew waits for the added one, too."""
    monkeypatch.setattr(_state._tls, "current_app", app)  # whose backend Celery 5.5 asks for the group
    backend, group = app.backend, str(uuid.uuid4())
    backend.set_chord_size(group, 1)
    backend.add_to_chord(group, None)
    for index in range(2):
        request = Context(id=str(uuid.uuid4()), group=group, group_index=index, chord=app.signature("total"))
        backend.on_chord_part_return(request, "SUCCESS", 20 + index)
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        message = queue.get(timeout=10)
        message.ack()
        assert sorted(message.payload[0][0]) == [20, 21]
    assert server.root.llen("celery") == 0


@pytest.mark.parametrize("queue", QUEUES)
def test_whoever_reads_results_may_not_touch_jobs(server: Server, results: redis.Redis, queue: str) -> None:
    """Neither see nor take nor send them, whatever the queue is called; nor hold, nor order workers about."""
    server.root.lpush(queue, "job")
    assert refused(results, "LPUSH", queue, "x")
    assert [word for word, *rest in TAKE if not refused(results, word, queue, *rest)] == []
    assert refused(results, "HGETALL", "unacked") and refused(results, "ZRANGE", "celerykit.owners", 0, -1)
    assert refused(results, "PUBLISH", "/0.celery.pidbox", "x") and refused(results, "PSUBSCRIBE", "*")
    assert refused(results, "SUBSCRIBE", "/0.celery.pidbox") and refused(results, "INFO")
    assert server.root.lrange(queue, 0, -1) == [b"job"]


@pytest.mark.parametrize("key", [prefix + "1" for prefix in RESULTS])
def test_whoever_has_the_broker_may_not_touch_results(server: Server, broker: redis.Redis, key: str) -> None:
    """Neither read nor write nor remove them, in whatever database."""
    for database in (0, 1):
        server.root.select(database)
        server.root.set(key, "result")
        broker.execute_command("SELECT", database)
        commands = (*TAKE, ("LPUSH", "x"), ("ZRANGE", 0, -1), ("ZADD", 1, "x"), ("SMEMBERS",), ("HGET", "x"))
        assert [word for word, *rest in commands if not refused(broker, word, key, *rest)] == []
        assert server.root.get(key) == b"result"
        server.root.delete(key)
    server.root.select(0)


@pytest.mark.parametrize("queue", QUEUES)
def test_a_queue_may_have_any_name_but_a_result_s(broker: redis.Redis, queue: str) -> None:
    """However near it comes to one."""
    assert broker.lpush(queue, "job") == 1
    assert broker.rpop(queue) == b"job"
    assert broker.lpush(f"prefix:{queue}", "job") == broker.delete(f"prefix:{queue}") == 1


def test_neither_may_do_anything_to_the_server(broker: redis.Redis, results: redis.Redis) -> None:
    """A stolen password opens what it is for, and not the server."""
    for client in (broker, results):
        assert [words for words in WORDS if not refused(client, *words.split())] == []


def test_a_stock_consumer_may_do_all_that_it_does(server: Server) -> None:
    """Queues that expire, priorities, what a dead one held, purging and broadcasts, by Kombu's own transport."""
    app = Celery("any", broker=server.url, set_as_current=False)
    options = {"visibility_timeout": 1, "unacked_restore_interval": 1}
    app.conf.broker_transport_options = options
    with app.connection_for_write() as connection:
        queue = connection.SimpleQueue("short", queue_opts={"expires": 60})
        queue.put({"number": 1}, priority=3)
        assert queue.get(timeout=5).payload == {"number": 1}  # and is not acknowledged
        server.root.zadd("unacked_index", dict.fromkeys(server.root.hkeys("unacked"), 0))
        queue.channel.qos.restore_visible()
        until(lambda: queue.qsize() == 1, 30, "the job comes back")
        if not releases.lacks("steady polling"):
            queue.channel.maybe_refresh_binding_expiry()
            queue.channel.sweep_bindings()
        message = queue.get(timeout=5)
        message.reject(requeue=True)
        assert queue.channel.queue_purge("short") == 1
        queue.channel.queue_delete("short")
