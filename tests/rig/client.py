"""A real client: submits jobs with Celery's own producer and writes down which were accepted."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
from celery import Celery
from kombu.exceptions import OperationalError
from psycopg import sql

import celerykit
from tests.rig.inside.celerykit_survival import note
from tests.rig.waiting import meanwhile

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import LiteralString

    from tests.rig.hosts import Host
    from tests.rig.ledger import Ledger
    from tests.rig.process import Process

KEYS = ("celery", "celery\x06\x163", "celery\x06\x166", "celery\x06\x169")
"""The lists of the default queue, one for each of kombu's four priority steps."""


def results_of(url: str) -> str:
    """Return where the results of a Redis are whose users all have one password."""
    return url.rpartition("/")[0].replace("//celery:", "//results:") + "/1"


class Client:
    """Submits to the broker at ``url``; a job is accepted when ``apply_async`` has returned.

    :param results: where its results are, if their user has a password of its own.
    """

    def __init__(self, url: str, ledger: Ledger, results: str = "", **transport_options: Any):
        self.app = Celery("client", broker=url, backend=results or results_of(url))
        patience = {"socket_connect_timeout": 2, "socket_timeout": 5, "interval_start": 0.1}
        self.app.conf.broker_transport_options = {**patience, **transport_options}
        self.app.conf.result_backend_transport_options = transport_options
        self._ledger = ledger

    def submit(self, task: str, *args: Any, **options: Any) -> str | None:
        """Submit one job; return its id, or None if the broker did not take it."""
        job = str(uuid.uuid4())
        try:
            self.app.send_task(task, args=args, task_id=job, **options)
        # Kombu publishes on a closed channel, if its connection has broken while it declared the queue.
        except (OperationalError, AttributeError):
            note(str(self._ledger.folder), "refused", job)
            return None
        note(str(self._ledger.folder), "accepted", job)
        return job

    def work(self, number: int, seconds: float, **options: Any) -> list[str]:
        """Submit ``number`` jobs that wait for ``seconds`` each, and return the ids of those accepted."""
        jobs = [self.submit("jobs.work", seconds, **options) for _ in range(number)]
        return [job for job in jobs if job]

    def result(self, job: str) -> Any:
        """Return Celery's result handle of a job."""
        return self.app.AsyncResult(job)

    def ping(self) -> bool:
        """Say whether the broker answers."""
        try:
            self._redis.ping()
        except Exception:  # whatever a broker that is not there raises
            return False
        return True

    def queued(self) -> int:
        """Return how many jobs wait in the default queue."""
        return sum(self._redis.llen(key) for key in KEYS)

    def unacknowledged(self) -> int:
        """Return how many jobs are with workers."""
        return int(self._redis.hlen("unacked"))

    def dead_letters(self) -> list[bytes]:
        """Return the dead letters, raw."""
        letters: list[bytes] = self._redis.lrange("celerykit.dead-letters", 0, -1)
        return letters

    def bodies(self, queue: str) -> dict[str, Any]:
        """Return body and properties, as the server has them, of each message in a queue, by its correlation id."""
        keys = [key.replace("celery", queue) for key in KEYS]
        rows = (json.loads(row) for key in keys for row in self._redis.lrange(key, 0, -1))
        return dict(map(_told, rows))

    def load(self, seconds: float = 1.0) -> AbstractContextManager[None]:
        """Keep all slots busy while this lasts, with jobs of so many seconds and a dozen that wait."""
        return meanwhile(lambda: self.work(12 - self.queued(), seconds), 0.3)

    @property
    def _redis(self) -> Any:
        return self.app.connection_for_read().default_channel.client


def _told(message: dict[str, Any]) -> tuple[str, Any]:
    """Return a message of Kombu's by its correlation id, without its headers and what each delivery changes."""
    told = {name: value for name, value in message["properties"].items() if name not in {"delivery_tag", *OF_DELIVERY}}
    return told["correlation_id"], [message["body"], message["content-type"], message["content-encoding"], told]


OF_DELIVERY = ("delivery_info", "headers")
UNKNOWN = 1_000_000
"""A number of jobs that is none, until the server has counted."""


class RabbitMQClient(Client):
    """Submits as any program with the kit's loader does, as a user who may only send jobs.

    What is in the queues it asks the server's own page, which listens inside the container alone.
    """

    def __init__(self, url: str, ledger: Ledger, server: Process | Host):
        self.url = url
        self.app = Celery("client", broker=url)
        celerykit.configure(self.app)
        self._ledger = ledger
        self._server = server
        self._password = urlsplit(url).password

    def ping(self) -> bool:
        """Say whether the broker answers."""
        try:
            with self.app.connection_for_write() as connection:
                connection.connect()
        except Exception:  # whatever a broker that is not there raises
            return False
        return True

    def queued(self) -> int:
        """Return how many jobs wait in the default queue."""
        with self.app.connection_for_write() as connection:
            return int(connection.default_channel.queue_declare("celery", passive=True).message_count)

    def unacknowledged(self) -> int:
        """Return how many jobs are with workers; the server counts them every five seconds."""
        return int(self.ask("queues/celery/celery").get("messages_unacknowledged", UNKNOWN))

    def dead_letters(self) -> list[bytes]:
        """Return the dead letters, raw, and leave them where they are."""
        return [json.dumps(letter).encode() for letter in self._messages("celerykit.dead-letters")]

    def bodies(self, queue: str) -> dict[str, Any]:
        """Return body and properties, as the server has them, of each message in a queue, by its correlation id."""
        result = {}
        for message in self._messages(queue):
            told = {name: value for name, value in message["properties"].items() if name not in OF_DELIVERY}
            result[told["correlation_id"]] = [message["payload"], told]
        return result

    def _messages(self, queue: str) -> Any:
        body = {"count": 100, "ackmode": "ack_requeue_true", "encoding": "auto"}
        return self.ask(f"queues/celery/{queue}/get", body)

    def ask(self, path: str, body: Any = None) -> Any:
        """Ask the management interface as the operator."""
        told = json.dumps([path, self._password, body])
        code, output = self._server.container.exec_run(["python3", "-c", ASK, told])
        assert code == 0, output.decode(errors="replace")
        return json.loads(output)


class PGMQClient(Client):
    """Submits as any program with the kit's loader does; the only user there is may look at everything."""

    def __init__(self, url: str, ledger: Ledger):
        self.url = url
        self.app = Celery("client", broker=url, backend=url.replace("pgmq://", "db+postgresql+psycopg://"))
        celerykit.configure(self.app)
        self._ledger = ledger

    def ping(self) -> bool:
        """Say whether the broker answers."""
        try:
            return self.sql("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    def queued(self) -> int:
        """Return how many jobs wait in the default queue."""
        return int(self.sql("SELECT count(*) FROM pgmq.q_celery WHERE vt <= clock_timestamp()")[0][0])

    def unacknowledged(self) -> int:
        """Return how many jobs are with workers, or not yet due."""
        return int(self.sql("SELECT count(*) FROM pgmq.q_celery WHERE vt > clock_timestamp()")[0][0])

    def dead_letters(self) -> list[bytes]:
        """Return the dead letters, raw."""
        return [json.dumps(message).encode() for message in self._messages("celerykit_dead_letters")]

    def bodies(self, queue: str) -> dict[str, Any]:
        """Return body and properties, as the server has them, of each message in a queue, by its correlation id."""
        return dict(map(_told, self._messages(queue.replace(".", "_").replace("-", "_"))))

    def _messages(self, queue: str) -> list[Any]:
        if not self.sql("SELECT 1 FROM pgmq.meta WHERE queue_name = %s", queue):
            return []
        return [
            row[0] for row in self.sql(sql.SQL("SELECT message FROM {}").format(sql.Identifier("pgmq", f"q_{queue}")))
        ]

    def sql(self, query: LiteralString | sql.Composed, *arguments: str) -> list[Any]:
        """Return the rows of a query."""
        with psycopg.connect(self.url.replace("pgmq://", "postgresql://"), connect_timeout=15, autocommit=True) as it:
            return it.execute(query, arguments).fetchall()


ASK = """
import base64, json, sys, urllib.request
path, password, body = json.loads(sys.argv[1])
login = base64.b64encode(f"operator:{password}".encode()).decode()
asked = urllib.request.Request(
    "http://127.0.0.1:15672/api/" + path,
    data=json.dumps(body).encode() if body else None,
    headers={"Authorization": "Basic " + login, "Content-Type": "application/json"},
)
print(urllib.request.urlopen(asked, timeout=60).read().decode())
"""
"""Run by the server's own Python: it has no other program that could ask."""
