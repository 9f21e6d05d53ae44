"""What jobs leave in a Redis that refuses: their results, and their parts of a chord, wait until it takes them."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, _state
from celery.app.task import Context
from celery.backends import base, redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, OutOfMemoryError
from redis.retry import Retry

from celerykit.brokers import patience
from celerykit.compat import retries
from tests.rig.client import results_of
from tests.rig.since import since
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.transport.server import Server

REFUSE = {
    "OOM": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "NOREPLICAS": ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
    "READONLY": ("REPLICAOF 127.0.0.1 9", "REPLICAOF NO ONE"),
}
REPLACED = ("add_to_chord", "apply_chord", "mget", "set_chord_size", "on_chord_part_return", "_create_client")

pytestmark = pytest.mark.each_server


@pytest.fixture
def app(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """An app as a worker has it, whose process has Celery as it is again afterwards."""
    for name in retries.methods_that_retry():
        monkeypatch.setattr(base.Backend, name, getattr(base.Backend, name))
    for name in REPLACED:
        monkeypatch.setattr(redis.RedisBackend, name, getattr(redis.RedisBackend, name))
    monkeypatch.setattr(redis.ResultConsumer, "consume_from", redis.ResultConsumer.consume_from)
    app = Celery("any", broker="memory://", backend=results_of(server.url), set_as_current=False)
    app.conf.update(result_backend_always_retry=True, result_backend_max_sleep_between_retries_ms=500)
    monkeypatch.setattr(_state, "default_app", app)  # whose backend Celery 5.5 asks for a group, in any thread
    monkeypatch.setattr(_state._tls, "current_app", app)
    app.conf.result_backend_thread_safe = True  # one for the threads of a test, too
    patience.install(app)
    yield app
    app.close()


def part(app: Celery, group: str, index: int) -> None:
    """Return a job's part to a chord."""
    request = Context(
        id=f"{group}.{index}", group=group, group_index=index, chord=app.signature("total", task_id=group)
    )
    app.backend.mark_as_done(request.id, 20 + index, request)


def sent(app: Celery) -> list[Any]:
    """Take the bodies of chords that were sent, with what they were given."""
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        bodies = []
        for _ in range(queue.qsize()):
            message = queue.get(timeout=5)
            message.ack()
            bodies.append(message.payload[0][0])
        return bodies


def while_refused(server: Server, app: Celery, word: str, action: Callable[[], object]) -> None:
    """Do something while the server refuses, look that it waits, and that it ends when the server relents."""
    refuse, relent = REFUSE[word]
    server.root.execute_command(refuse)
    until_relented(app, action, lambda: server.root.execute_command(relent))


def until_relented(app: Celery, action: Callable[[], object], relent: Callable[[], object]) -> None:
    """Look that something waits, and that it ends after the server has relented."""
    pauses: list[float] = []
    pause = app.backend._sleep
    app.backend._sleep = lambda seconds: (pauses.append(seconds), pause(seconds))
    thread = threading.Thread(target=action, daemon=True)
    try:
        thread.start()
        until(lambda: len(pauses) > 3, 10, "several attempts", pause=0.02)
        assert thread.is_alive()
    finally:
        relent()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("word", REFUSE)
def test_a_chord_waits_with_its_jobs(server: Server, app: Celery, word: str) -> None:
    """Its size, a job more, each result and each part: the body is sent once, with what the jobs returned."""
    group = str(uuid.uuid4())
    while_refused(server, app, word, lambda: app.backend.set_chord_size(group, 1))
    while_refused(server, app, word, lambda: app.backend.add_to_chord(group, None))
    while_refused(server, app, word, lambda: part(app, group, 0))
    while_refused(server, app, word, lambda: app.backend.on_chord_part_return(request_of(app, group), "SUCCESS", 21))
    assert [sorted(given) for given in sent(app)] == [[20, 21]]
    assert app.AsyncResult(f"{group}.0").state == "SUCCESS"


def request_of(app: Celery, group: str) -> Context:
    """Return the second job of a chord."""
    return Context(id=f"{group}.1", group=group, group_index=1, chord=app.signature("total", task_id=group))


@since("links told apart")
def test_a_chord_whose_body_is_sent_has_not_failed(
    server: Server, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis that refuses from that moment on keeps the traces of the chord a while: that is no error of the body."""
    group = str(uuid.uuid4())
    app.backend.set_chord_size(group, 1)
    publish = app.amqp._retry_publish
    refuse, relent = REFUSE["NOREPLICAS"]
    relents = threading.Timer(1.0, lambda: server.root.execute_command(relent))

    def publish_and_refuse(*args: Any, **kwargs: Any) -> None:
        publish(*args, **kwargs)
        server.root.execute_command(refuse)
        relents.start()

    monkeypatch.setattr(app.amqp, "_retry_publish", publish_and_refuse)
    part(app, group, 0)
    relents.join()
    assert sent(app) == [[20]]
    assert app.AsyncResult(group).state == "PENDING"


def test_who_sends_a_group_waits_for_a_server_that_is_away(server: Server, app: Celery) -> None:
    """Celery listens for the result of each member once it is sent; the others are not to be given up for that."""
    app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 1, "interval_start": 0.1}}
    app.backend.client.set_retry(Retry(NoBackoff(), 0))  # of its own it takes seconds for each attempt
    server.kill()
    until_relented(app, lambda: app.backend.result_consumer.consume_from("job"), server.start)
    key = app.backend.get_key_for_task("job")
    until(lambda: server.root.pubsub_numsub(key) == [(key, 1)], 10, "Redis has heard of it")


def test_who_asks_for_no_retries_or_lacks_a_right_is_told_at_once(server: Server, app: Celery) -> None:
    """A right that is missing comes by no wait, so no slot is held for it."""
    server.root.execute_command("ACL SETUSER results -setex")
    with pytest.raises(NoPermissionError):
        app.backend.store_result("job", 5, "SUCCESS")
    server.root.acl_load()
    app.backend.always_retry = False
    server.root.execute_command(REFUSE["OOM"][0])
    with pytest.raises(OutOfMemoryError):
        app.backend.store_result("job", 5, "SUCCESS")
    with pytest.raises(OutOfMemoryError):
        app.backend.set_chord_size("group", 1)
