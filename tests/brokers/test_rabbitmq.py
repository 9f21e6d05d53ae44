"""RabbitMQ as the kit sets it up: all of it together, who may do what, and what is said of mistakes."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from amqp.exceptions import AccessRefused
from celery import Celery

from celerykit.brokers import rabbitmq_definitions
from celerykit.messages import dead_letters
from tests.rig.inside.celerykit_survival import note
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig
    from tests.rig.process import Process

QUEUES = ("celery", "reports")


@pytest.fixture
def server(rig: Rig) -> Process:
    """RabbitMQ with a second queue."""
    return rig.rabbitmq("reports")


def stock(rig: Rig) -> Celery:
    """Return an app without the kit, as a worker's user: without the kit, a producer needs more rights."""
    return Celery("stock", broker=rig.client.url.replace("producer:", "worker:"), set_as_current=False)


def send_by_all(rig: Rig, app: Celery) -> None:
    """Submit to each queue, at once and delayed, by the kit's producer and by the stock one."""
    for queue in QUEUES:
        for options in ({}, {"countdown": 2}):
            rig.client.submit("jobs.work", 0.1, queue=queue, **options)
            sent = app.send_task("jobs.work", args=[0.1], queue=queue, **options)
            note(str(rig.ledger.folder), "accepted", sent.id)


def test_everything_together(server: Process, rig: Rig) -> None:
    """Stock producers before and after the worker, delays before and after, a kill and a poison job, on one server."""
    app = stock(rig)
    send_by_all(rig, app)
    worker = rig.worker(CELERY_WORKER_QUEUES=",".join(QUEUES), CELERYKIT_MAX_DELIVERIES=2)
    send_by_all(rig, app)
    rig.assert_nothing_lost()
    assert len(rig.ledger.account().accepted) == 16
    assert not rig.ledger.account().done_twice
    assert len(app.control.ping(timeout=5)) == 1
    rig.client.work(2, 3.0)
    rig.ledger.wait_running(2)
    worker.kill_and_start()
    rig.assert_nothing_lost(twice=2)
    poison = rig.client.submit("jobs.kill_child") or ""
    until(lambda: len(rig.client.dead_letters()) == 1, 60, "a dead letter")
    assert poison.encode() in rig.client.dead_letters()[0]


def test_jobs_that_a_stock_producer_delays_take_no_slot(server: Process, rig: Rig) -> None:
    """A worker of two slots that gets ten has RabbitMQ keep them: it runs what is due, and they are on time."""
    rig.worker()
    app = stock(rig)
    sent = time.time()
    for number in range(10):
        job = app.send_task("jobs.work", args=[0.1], queue="celery", countdown=15 + number / 10).id
        note(str(rig.ledger.folder), "accepted", job)
    now = rig.client.work(2, 0.1)
    until(lambda: set(now) <= set(rig.ledger.account().done), 12, "jobs for now")
    rig.assert_nothing_lost()
    assert sent + 15 <= (rig.ledger.first("start", job) or 0.0) < sent + 15.9 + 5


def test_jobs_that_are_due_follow_each_other_at_once_in_solo(server: Process, rig: Rig) -> None:
    """Each is acknowledged when it has ended, and RabbitMQ sends the next: no turn of the event loop is waited for."""
    past = datetime.now(UTC) - timedelta(seconds=10)
    kinds = {"now": rig.client.work(30, 0.0), "due": rig.client.work(30, 0.0, eta=past)}
    rig.worker("solo")
    rig.assert_nothing_lost()
    took = {
        kind: rig.ledger.first("start", jobs[-1]) - rig.ledger.first("start", jobs[0]) for kind, jobs in kinds.items()
    }
    assert took["due"] < 5 * took["now"] + 3, took


def test_a_job_that_its_workers_never_end_is_kept(server: Process, rig: Rig) -> None:
    """A job that comes back to its queue too often, as when it takes its whole worker down, is no endless loop."""
    rig.client.submit("jobs.work", 0.1)
    with stock(rig).connection_for_read() as connection:
        queue = connection.default_channel
        while message := queue.basic_get("celery"):
            queue.basic_reject(message.delivery_tag, requeue=True)
    (letter,) = rig.client.dead_letters()
    assert json.loads(letter)["properties"]["headers"]["x-first-death-reason"] == "delivery_limit"


def test_an_expired_job_is_no_dead_letter(server: Process, rig: Rig) -> None:
    """Beat's jobs expire every day: they end as on Redis, and none is left anywhere."""
    for _ in range(3):
        rig.client.submit("jobs.work", 0.1, expires=0.5)
    until(lambda: rig.client.queued() == 0, 30, "jobs that expire")
    assert rig.client.dead_letters() == []
    counts = dict(line.split() for line in server.sh("rabbitmqctl -q list_queues -p celery name messages").splitlines())
    assert (counts["celery"], counts[rabbitmq_definitions.EXPIRED]) == ("0", "0")


def named(objects: list[dict[str, Any]]) -> set[str]:
    """Return what is comparable of definitions, but for what is the kit's own or of one worker's life."""
    lasting = [
        item
        for item in objects
        if item.get("durable", True)
        and not {"celeryev", "celery.pidbox", dead_letters.QUEUE, rabbitmq_definitions.EXPIRED}
        & {item.get("source"), item.get("name")}
    ]
    kept = ("name", "source", "destination", "destination_type", "routing_key", "arguments")
    return {json.dumps({key: item[key] for key in kept if key in item}, sort_keys=True) for item in lasting}


def test_the_definitions_are_what_celery_declares(rig: Rig) -> None:
    """A worker on a server that has users alone makes what the definitions hold, and the exchanges of stock Celery."""
    server = rig.rabbitmq("reports", only=("vhosts", "users", "permissions"))
    rig.worker(CELERY_WORKER_QUEUES=",".join(QUEUES))
    made, ours = json.loads(server.sh("rabbitmqctl -q export_definitions -")), rig.definitions("reports")
    stock = {"queues": set()}
    stock["exchanges"] = {json.dumps({"arguments": {}, "name": name}, sort_keys=True) for name in QUEUES}
    stock["bindings"] = {
        json.dumps(
            {
                "arguments": {},
                "destination": name,
                "destination_type": "queue",
                "routing_key": name,
                "source": name,
            },
            sort_keys=True,
        )
        for name in QUEUES
    }
    for kind in ("exchanges", "queues", "bindings"):
        assert named(made[kind]) == named(ours[kind]) | stock[kind], kind


def test_a_producer_may_send_jobs_and_nothing_else(server: Process, rig: Rig) -> None:
    """No remote control, no look at jobs or dead letters, no letter forged."""
    app = rig.client.app
    with pytest.raises(AccessRefused):
        app.control.ping(timeout=1)
    for queue in ("celery", dead_letters.QUEUE):
        with app.connection_for_read() as connection, pytest.raises(AccessRefused):
            connection.default_channel.basic_get(queue)
    with app.connection_for_write() as connection, pytest.raises(AccessRefused):
        connection.Producer().publish({}, exchange="", routing_key="celery", retry=False)


def test_a_queue_that_was_deleted_is_made_again(server: Process, rig: Rig) -> None:
    """A sender that has declared it an hour ago would go on to send into nothing."""
    rig.client.submit("jobs.work", 0.1)
    server.sh("rabbitmqctl -q delete_queue -p celery celery")
    rig.client.submit("jobs.work", 0.1)
    assert rig.client.queued() == 1


def test_a_worker_may_not_look_at_dead_letters(server: Process, rig: Rig) -> None:
    """They hold other pools' arguments, too."""
    with stock(rig).connection_for_read() as connection, pytest.raises(AccessRefused):
        connection.default_channel.basic_get(dead_letters.QUEUE)


def test_nobody_gets_in_but_by_password_and_port(server: Process, rig: Rig) -> None:
    """The guest of RabbitMQ is gone; its page, its names and its cluster listen inside alone."""
    guest = rig.client.url.replace(f"producer:{rig.password}", "guest:guest")
    with Celery(broker=guest, set_as_current=False).connection_for_read() as connection, pytest.raises(AccessRefused):
        connection.connect()
    neighbour = rig.celery(["-c", "import time; time.sleep(300)"], "plain", entrypoint="python")
    look = "import socket; socket.create_connection(('rabbitmq', {port}), 5)"
    assert neighbour.container.exec_run(["python", "-c", look.format(port=5672)]).exit_code == 0
    for port in (4369, 15672, 25672):
        answer = neighbour.container.exec_run(["python", "-c", look.format(port=port)])
        assert b"ConnectionRefusedError" in answer.output, port


def test_the_health_check_is_no_burden(server: Process) -> None:
    """It starts no Erlang machine and leaves no line in the log."""
    for last_word in (
        "completed with",
        "Time to start RabbitMQ",
        "closing AMQP connection",
    ):  # of the client that waited
        server.wait_log(last_word)
    before = server.logs
    for _ in range(5):
        server.sh("rabbitmq-health")
    assert server.logs == before
    assert server.sh("pgrep -c beam.smp").strip() == "1"


def test_a_container_made_anew_finds_its_jobs(server: Process, rig: Rig) -> None:
    """The data belong to no host name: an upgrade, which makes another container, keeps every job."""
    rig.client.work(3, 0.1)
    server.container.remove(force=True)
    rig.processes.remove(server)
    rig.rabbitmq("reports")
    rig.worker()
    rig.assert_nothing_lost()


@pytest.mark.slow
def test_workers_work_and_start_where_nobody_may_publish(server: Process, rig: Rig) -> None:
    """A server that is short of memory needs workers that empty its queues: none is stuck, or waits to begin."""
    old = rig.worker(CELERYKIT_STUCK_AFTER=12, CELERYKIT_LONGEST_JOB=30)
    rig.client.work(48, 2.0)
    rig.ledger.wait_running(2)
    server.sh("rabbitmqctl -q set_vm_memory_high_watermark 0.0001")
    rig.worker(CELERY_WORKER_WITHOUT_MINGLE="false")  # it is to ask the old one, and cannot
    rig.assert_nothing_lost()
    last = max(rig.ledger.entries(), key=lambda entry: entry.at)
    assert last.at - min(entry.at for entry in rig.ledger.entries() if entry.kind == "start") > 12
    assert old.state["Status"] == "running"
    assert len({entry.host for entry in rig.ledger.entries() if entry.kind == "start"}) == 2, "both took part"


def test_a_wrong_password_is_said(server: Process, rig: Rig) -> None:
    """With the variable to mend, and without the password; the worker waits for it to be mended."""
    rig.broker_url = rig.broker_url.replace(rig.password, "wrong")
    worker = rig.worker(ready=False)
    worker.wait_log("Give the user and password that RabbitMQ knows")
    assert "wrong" not in worker.logs and worker.state["Status"] == "running"


def test_a_wrong_virtual_host_is_said(server: Process, rig: Rig) -> None:
    """By its name, and where that is given."""
    rig.broker_url = f"{rig.broker_url.rpartition('/')[0]}/nowhere"
    worker = rig.worker(ready=False)
    worker.wait_log("vhost nowhere not found. Make the virtual host, or mend the name at the end of CELERY_BROKER_URL")


def test_a_queue_with_other_arguments_is_said(server: Process, rig: Rig) -> None:
    """By its name, what differs, and what to do."""
    with stock(rig).connection_for_write() as connection:
        connection.default_channel.queue_declare(
            "odd", durable=True, auto_delete=False, arguments={"x-queue-type": "classic"}
        )
    worker = rig.worker(ready=False, CELERY_WORKER_QUEUES="odd")
    worker.wait_log("'x-queue-type' for queue 'odd'")
    worker.wait_log("It was made otherwise: empty and delete it")
