"""A worker without Celery, in a process of its own: takes jobs of so many seconds, one after the other.

Told in JSON: the ``url``, the ``log`` to write to, whether ``stock``, the ``queue``, ``prefetch``, ``seconds`` a job,
whether it ``reconnects``, by how many seconds its clock steps when its first job begins (``clock_steps``), how many
``jobs`` there are if it is to end with them, the seconds of its ``lease``, for how long it may be silent
(``patience``), whether its jobs hold Python's lock (``holds``), whether it has a child that outlives it (``forks``),
and ``dies_at``: the numbers of the exchanges with Redis in which it is killed, one after the other; before the server
has heard, or, at a half, after its answer.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time

import redis
from kombu import Connection, Queue
from kombu.common import ignore_errors
from kombu.exceptions import OperationalError

from celerykit.transports.redis import Transport
from celerykit.transports.redis.consumer_info import Workplace

told = {"queue": "jobs", "prefetch": 1, "seconds": 0.0, "dies_at": (), "jobs": None, "reconnects": False}
told |= {"clock_steps": 0, "patience": 70.0, "holds": False, "forks": False, "lease": Workplace.lease_seconds}
told["name"] = f"worker{os.getpid()}@test"
told.update(json.loads(sys.argv[1]))
done = 0
WORKPLACE = Workplace(name=told["name"], lease_seconds=told["lease"], patience=lambda: told["patience"])


def write(kind: str, body: object) -> None:
    """Write a line that outlives this process."""
    with open(told["log"], "a") as log:
        log.write(f"{kind} {body}\n")


def die_at(step: float) -> None:
    """Be killed in an exchange: at a whole number before the request is sent, at a half after its answer came."""
    exchanges = iter(range(1, 1_000_000))
    send, read = redis.Connection.send_packed_command, redis.Connection.read_response

    def send_packed_command(self: object, *args: object, **kwargs: object) -> object:
        self.exchange = next(exchanges)
        if self.exchange == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return send(self, *args, **kwargs)

    def read_response(self: object, *args: object, **kwargs: object) -> object:
        answer = read(self, *args, **kwargs)
        if getattr(self, "exchange", 0) + 0.5 == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    redis.Connection.send_packed_command = send_packed_command
    redis.Connection.read_response = read_response


def work(message: object) -> None:
    """Do a job and acknowledge it."""
    global done
    write("got", message.payload)
    if told["clock_steps"] and not done:
        set_clock(told["clock_steps"])
    if told["holds"]:
        ctypes.PyDLL(None).sleep(int(told["seconds"]))  # no other thread of Python's runs meanwhile
    else:
        time.sleep(told["seconds"])
    write("done", message.payload)
    done += 1
    message.ack()


def set_clock(step: float) -> None:
    """Have all code of this process see another time of day from now on."""
    right = time.time
    time.time = lambda: right() + step


def connect() -> Connection:
    """Connect and consume, as Celery's consumer does after each loss of its connection."""
    options = {"visibility_timeout": told.get("visibility_timeout", 3600), "unacked_restore_interval": 1}
    options |= {"unacked_restore_throttle": 1, "socket_timeout": 5}
    transport = {} if told["stock"] else {"transport": Transport}
    connection = Connection(told["url"], transport_options=options, **transport)
    connection.workplace = WORKPLACE
    connection.ensure_connection(interval_start=0.1, interval_step=0.1, interval_max=0.5)
    consumer = connection.Consumer([Queue(told["queue"])], on_message=work)
    consumer.qos(prefetch_count=told["prefetch"])
    consumer.consume()
    return connection


def run() -> None:
    """Work until killed, or until as many jobs are done as there are."""
    connection = connect()
    if told["forks"] and (child := os.fork()) == 0:
        outlive()
    elif told["forks"]:
        write("child", child)
    write("ready", "")
    while done != told["jobs"]:
        try:
            connection = connection or connect()
            connection.drain_events(timeout=1)
        except TimeoutError:
            continue
        except (*Transport.connection_errors, *Transport.channel_errors, OperationalError):
            if not told["reconnects"]:
                raise
            if connection is not None:
                ignore_errors(connection, connection.close)
            connection = None
    connection.close()


def outlive() -> None:
    """Be a child with all that it has inherited, for a minute."""
    time.sleep(60)
    os._exit(0)


def run_and_die(step: float) -> None:
    """Be killed in an exchange with Redis, in a process and on a queue of its own."""
    told.update(queue=f"{told['queue']}{step:g}", name=f"{step:g}@test")
    WORKPLACE.name = told["name"]
    if os.fork() == 0:
        die_at(step)
        run()
        os._exit(0)
    write("ended", f"{step:g} {os.wait()[1]}")


def main() -> None:
    """Be one worker, or one after the other."""
    if told["dies_at"]:
        queue = told["queue"]
        for step in told["dies_at"]:
            told["queue"] = queue
            run_and_die(step)
        write("over", "")
    else:
        run()


if __name__ == "__main__":
    main()
