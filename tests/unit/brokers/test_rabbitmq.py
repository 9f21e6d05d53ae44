"""What an app has on RabbitMQ, before it reaches one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from kombu import Exchange, Queue, binding
from kombu.common import Broadcast

import celerykit
from celerykit.brokers import routes, tls
from celerykit.brokers.rabbitmq import delayed_key, remedy, require_version
from celerykit.checks import job_loss
from celerykit.config import settings

if TYPE_CHECKING:
    from pathlib import Path

QUORUM = {"x-queue-type": "quorum"}


def made(broker: str = "amqp://h//", **conf: Any) -> Celery:
    """Return an app with the kit's layer."""
    app = Celery("made", broker=broker, set_as_current=False)
    app.conf.update(conf)
    celerykit.configure(app)
    return app


def told(app: Celery, name: str) -> tuple[str, str, str, Any]:
    """Return exchange, its type, routing key and arguments of a queue."""
    queue = app.amqp.queues[name]
    return queue.exchange.name, queue.exchange.type, queue.routing_key, queue.queue_arguments


@pytest.mark.parametrize("name", ["celery", "reports"])
def test_queues_by_name_are_quorum_queues_of_one_topic_exchange(name: str) -> None:
    """The default one and those of `-Q` and routes alike."""
    assert told(made(), name) == ("celerykit", "topic", name, QUORUM)


def test_the_first_job_of_a_producer_is_sent_as_all_others() -> None:
    """send_task() takes hold of the app's messaging before anything has read the settings."""
    app = Celery("early", broker="amqp://h//", set_as_current=False)
    taken = app.amqp
    celerykit.configure(app)
    assert app.conf.task_default_queue_type == "quorum"
    assert told(app, "reports") == ("celerykit", "topic", "reports", QUORUM)
    assert taken is app.amqp and taken.Connection is tls.Connection


def test_queues_of_the_app_s_own_do_not_get_each_other_s_jobs() -> None:
    """`Queue("a")` has no routing key: Celery would give all of them the same."""
    app = made(task_queues=[Queue("a"), Queue("b")])
    assert told(app, "a") == ("celerykit", "topic", "a", QUORUM)
    assert told(app, "b") == ("celerykit", "topic", "b", QUORUM)


def test_what_an_app_says_of_its_queues_holds() -> None:
    """Its exchange, key and type, and a broadcast is no queue of jobs."""
    own = Queue("own", Exchange("mine", type="direct"), routing_key="key", queue_arguments={"x-queue-type": "classic"})
    app = made(task_queues=[own, Broadcast("news")])
    assert told(app, "own") == ("mine", "direct", "key", {"x-queue-type": "classic"})
    assert app.amqp.queues["news"].exchange.type == "fanout"
    assert not app.amqp.queues["news"].queue_arguments


def test_an_app_that_wants_celery_s_own_queues_has_them() -> None:
    """Classic queues of direct exchanges, as before the kit."""
    app = made(
        task_default_exchange="celery",
        task_default_exchange_type="direct",
        task_default_queue_type="classic",
        task_create_missing_queue_type="classic",
    )
    assert told(app, "celery") == ("celery", "direct", "celery", None)
    assert told(app, "reports") == ("reports", "direct", "reports", None)


def test_on_redis_queues_are_celery_s() -> None:
    """No exchange, type or class of RabbitMQ's."""
    app = made("redis://h/0")
    assert told(app, "celery") == ("celery", "direct", "celery", None)
    assert told(app, "reports") == ("reports", "direct", "reports", None)


def test_an_app_s_own_topic_stays() -> None:
    """Its routing keys mean something, as in Celery's routing guide."""
    app = made(
        task_default_queue="default",
        task_default_exchange="tasks",
        task_default_exchange_type="topic",
        task_queues=[Queue("default", routing_key="task.#")],
    )
    assert told(app, "default") == ("tasks", "topic", "task.#", None)
    assert told(made(task_default_exchange_type="topic"), "celery") == ("celery", "topic", "celery", QUORUM)


def test_a_queue_keeps_the_exchange_that_it_has_without_the_kit() -> None:
    """For whoever names it; bindings of its own are all that it has there."""
    several = Queue("several", [binding(Exchange("media"), routing_key="media.one")])
    queues = made(task_queues=[Queue("a", routing_key="key"), several]).amqp.queues
    bound = {name: routes.stock(queues[name]) for name in ("a", "feeds", "several")}
    assert {name: queue and (queue.exchange.name, queue.routing_key) for name, queue in bound.items()} == {
        "a": ("celery", "key"),
        "feeds": ("feeds", "feeds"),
        "several": None,
    }


@pytest.mark.parametrize(
    ("exchange", "key", "names"),
    [
        ("celery", "celery", ["a"]),
        ("media", "media.one", ["several"]),
        ("topics", "video.hd.raw", ["videos"]),
        ("topics", "video", ["videos"]),
        ("topics", "audio.hd", ["any"]),
        ("topics", "audio.hd.raw", []),
        ("media", "video.hd", []),
        ("celerykit", "several", ["several"]),
    ],
)
def test_the_queues_of_an_exchange_and_key_are_known(exchange: str, key: str, names: list[str]) -> None:
    """As RabbitMQ would find them."""
    topics = Exchange("topics", type="topic")
    several = Queue("several", [binding(Exchange("media"), routing_key="media.one")])
    own = [Queue("videos", topics, routing_key="video.#"), Queue("any", topics, routing_key="audio.*")]
    queues = made(task_queues=[Queue("a"), several, *own, Broadcast("topics")]).amqp.queues
    assert [queue.name for queue in routes.leading(queues.values(), exchange, key)] == names


@pytest.mark.parametrize("countdown", [0, 1])
def test_a_delay_below_a_second_is_one_of_a_second(countdown: int) -> None:
    """Celery cuts off the fraction, and would refuse what is left."""
    assert delayed_key(countdown, "celery") == f"{'0.' * 27}1.celery"


def found(app: Celery) -> list[str]:
    """Return the names of what `celerykit check` finds."""
    return [finding.variable for finding in job_loss.judge(app, settings.Settings())]


def test_a_queue_that_would_get_another_s_jobs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the app, or by the pools of this machine; on RabbitMQ alone."""
    assert found(made(task_queues=[Queue("a"), Queue("high.a")])) == ["queues"]
    assert found(made("redis://h/0", task_queues=[Queue("a"), Queue("high.a")])) == []
    monkeypatch.setenv("CELERY_WORKER_QUEUES", "high.celery,other")
    assert found(made()) == ["queues"]


def test_queues_of_several_pools_are_looked_at_together(etc: Path) -> None:
    """One pool has the first, another the second."""
    (etc / "worker-one.env").write_text("CELERY_WORKER_QUEUES=mail\n")
    (etc / "worker-two.env").write_text("CELERY_WORKER_QUEUES=urgent.mail\n")
    assert found(made()) == ["queues"]


def test_what_rabbitmq_refuses_is_found() -> None:
    """Priorities by argument on quorum queues, and queues that RabbitMQ 4.3 has no more."""
    assert found(made(task_queue_max_priority=10)) == ["task_queue_max_priority"]
    assert found(made(control_queue_exclusive=False)) == ["control_queue_exclusive"]
    assert found(made(control_queue_exclusive=False, control_queue_durable=True)) == []


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("(403) ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.", "URL-encoded"),
        ("Connection.open: (530) NOT_ALLOWED - vhost v not found", "virtual host"),
        ("Connection.open: (530) NOT_ALLOWED - access to vhost 'v' refused for user 'u'", "rights in the virtual host"),
        ("(403) ACCESS_REFUSED - write access to exchange 'x' in vhost 'v' refused for user 'u'", "the missing right"),
        ("(406) PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q'", "empty and delete"),
        (
            "Queue.declare: (405) RESOURCE_LOCKED - cannot obtain exclusive access to locked queue "
            "'default@host.celery.pidbox' in vhost 'celery'. It could be originally declared on another connection",
            "CELERY_WORKER_HOSTNAME",
        ),
        ("[Errno 111] Connection refused", ""),
    ],
)
def test_what_rabbitmq_refuses_has_a_remedy(said: str, word: str) -> None:
    """What is no refusal has none: a server that is away comes back."""
    assert word in remedy(said) and bool(word) == bool(remedy(said))


@pytest.mark.parametrize(("version", "fits"), [("3.8.9", False), ("3.10.8", True), ("4.3.0", True)])
def test_a_rabbitmq_that_is_too_old_is_refused(version: str, fits: bool) -> None:
    """Before its first delayed job, and with the version that it takes."""
    server = SimpleNamespace(server_properties={"product": "RabbitMQ", "version": version})
    connection = SimpleNamespace(connection=server)
    if fits:
        require_version(connection)
        return
    with pytest.raises(RuntimeError) as refused:
        require_version(connection)
    assert "3.10 or later" in remedy(str(refused.value))
