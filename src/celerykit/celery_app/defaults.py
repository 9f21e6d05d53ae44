"""The settings that the kit puts between an app's own and Celery's, each with its reason."""

from __future__ import annotations

import math
from typing import Any

from celerykit.brokers import catalogue, postgresql
from celerykit.brokers.catalogue import QUORUM
from celerykit.brokers.verification import checked
from celerykit.celery_app.rows import Default, Process, Row, defaults_of
from celerykit.config.pool_kinds import GREEN_POOLS, PREFORK, SOLO
from celerykit.config.settings import Settings

DATABASE = {"pool_pre_ping": True, "pool_recycle": 3600}
"""What Celery tells SQLAlchemy by itself."""


ON_EVERY_BROKER = (
    Row(
        "worker_concurrency",
        1,
        "The solo pool runs one job, and prefetches for as many as this says.",
        holds=lambda process: process.pool_class == SOLO,
    ),
    Row(
        "task_time_limit",
        lambda process: process.settings.longest_job,
        "What CELERYKIT_LONGEST_JOB says; without it, no limit.",
        holds=lambda process: process.settings.longest_job is not None,
    ),
    Row(
        "task_acks_late",
        lambda process: process.redelivers,
        "A job acknowledged at its start is lost when its worker dies.",
    ),
    Row(
        "task_reject_on_worker_lost",
        lambda process: process.redelivers,
        "With late acknowledgement alone, the death of a pool child still acknowledges its job.",
    ),
    Row(
        "worker_prefetch_multiplier",
        lambda process: 4 if process.is_green else 1,
        "A prefetched job waits behind a running one while other workers idle. Green pools stall on Redis below 4.",
    ),
    Row(
        "worker_proc_alive_timeout",
        600.0,
        "A child that loads a model in `worker_process_init` needs longer than 4 s, and would be killed and forked "
        "anew in a loop.",
    ),
    Row(
        "redis_socket_timeout",
        lambda process: process.settings.patience,
        "A result backend on Redis that is cut off holds a job for two minutes at each answer otherwise.",
    ),
    Row(
        "redis_socket_connect_timeout",
        lambda process: min(5.0, process.settings.patience),
        "A connection to a result backend that is cut off holds a job for two minutes otherwise, too.",
    ),
    Row("redis_socket_keepalive", True, "Lets the kernel notice a result backend that is gone."),
    Row("broker_connection_retry_on_startup", True, "Workers start before brokers do, at every boot."),
    Row("broker_connection_max_retries", None, "After the 100th attempt a worker would end and stay away."),
    Row(
        "broker_channel_error_retry",
        True,
        "A full or read-only Redis, or a closed channel of RabbitMQ, would end the worker as 'unrecoverable'.",
    ),
    Row(
        "result_backend_always_retry",
        True,
        "A result backend that is away for a moment would turn a job that was done into a FAILURE.",
    ),
    Row(
        "result_backend_max_retries",
        math.inf,
        "A database gets three attempts otherwise, which are over before it has been restarted.",
    ),
    Row(
        "database_create_tables_at_setup",
        False,
        "Whoever sends a job would wait for a database that is away. The first result makes the tables.",
    ),
    Row("beat_sync_every", 1, "A killed beat sends the ticks of up to 3 minutes again."),
    Row("beat_scheduler", "celerykit.beat:PersistentScheduler", "Two beats on one schedule send every job twice."),
    Row("worker_consumer", "celerykit.worker.consumer:Consumer", "Tells of each turn of a loop that has no timer."),
)

REDIS_OPTIONS = (
    Row(
        "visibility_timeout",
        lambda process: process.settings.visibility_timeout,
        "When a dead stock worker's jobs run again: as early as the longest job allows.",
    ),
    Row("unacked_restore_interval", 5, "How often a worker looks for jobs of dead stock workers, in seconds."),
    Row("unacked_restore_throttle", 1, "At each of those looks, instead of at every tenth."),
    Row(
        "max_connections",
        1000,
        "Greenlets acknowledge side by side: beyond Kombu's 10 connections that fails, and the job runs again.",
    ),
    Row(
        "socket_connect_timeout",
        lambda process: min(5.0, process.settings.patience),
        "An address that swallows packets must not hold the worker.",
    ),
    Row(
        "socket_timeout",
        lambda process: process.settings.patience,
        "Without it a half-open connection is waited for without end. It follows from CELERYKIT_STUCK_AFTER.",
    ),
    Row("socket_keepalive", True, "Lets the kernel notice a peer that is gone."),
    Row("health_check_interval", 10, "Bounds how long a stuck consumer goes unnoticed to about 20 s."),
)

RABBITMQ_OPTIONS = (Row("confirm_publish", True, "Without confirms a broker crash loses jobs that were accepted."),)

PGMQ_OPTIONS = (
    Row(
        "visibility_timeout",
        lambda process: math.ceil(process.settings.lease),
        "When a dead worker's jobs run again. A worker that is alive renews it, however long a job lasts.",
    ),
    Row("wait_time_seconds", 0, "One queue after the other would be waited for, and a stop wait with them."),
    Row("polling_interval", 0.1, "How often PostgreSQL is asked for jobs by a worker that has a free slot."),
)

TIMED_OPTIONS = (
    Row(
        "visibility_timeout",
        lambda process: math.ceil(process.settings.visibility_timeout),
        "The broker hands a job on when this is over, even while it runs: it follows from CELERYKIT_LONGEST_JOB.",
    ),
)

ON_PGMQ = (
    Row(
        "worker_enable_remote_control",
        False,
        "Nobody removes the queue of commands of a worker that has gone: it would grow for ever.",
    ),
    Row(
        "worker_lost_wait",
        2.0,
        "How long a dead pool child's result may be on its way: without an event loop, its job waits for that.",
    ),
)

ON_RABBITMQ = (
    Row(
        "worker_cancel_long_running_tasks_on_connection_loss",
        True,
        "RabbitMQ hands a job on when the connection breaks, so its first run must end. On Redis it may finish.",
    ),
    Row(
        "task_default_queue_type",
        QUORUM,
        "A quorum queue has each job on disk before it confirms it, counts deliveries, and can delay jobs.",
    ),
    Row("task_create_missing_queue_type", QUORUM, "A queue that `-Q` or a route names is a quorum queue, too."),
)


def app_defaults(settings: Settings, pool_class: str = PREFORK) -> list[Default]:
    """Return the defaults that hold on every broker.

    :param pool_class: the alias of the worker pool as ``-P`` takes it.
    """
    return defaults_of(ON_EVERY_BROKER, Process(settings, pool_class))


def transport_options(settings: Settings, scheme: str) -> list[Default]:
    """Return the defaults of ``broker_transport_options`` for a broker URL's scheme."""
    if scheme in catalogue.REDIS:
        return defaults_of(REDIS_OPTIONS, Process(settings))
    if scheme in catalogue.AMQP:
        return defaults_of(RABBITMQ_OPTIONS, Process(settings))
    if scheme == "pgmq":
        return defaults_of(PGMQ_OPTIONS, Process(settings))
    return defaults_of(TIMED_OPTIONS if scheme in catalogue.TIMED else (), Process(settings))


def broker_defaults(settings: Settings, scheme: str) -> list[Default]:
    """Return the defaults that depend on the broker, ``broker_transport_options`` apart, for its URL's scheme."""
    if scheme == "pgmq":
        return defaults_of(ON_PGMQ, Process(settings))
    return defaults_of(ON_RABBITMQ if scheme in catalogue.AMQP else (), Process(settings))


def backend_defaults(settings: Settings, url: str, pool_class: str = PREFORK) -> list[Default]:
    """Return the defaults that depend on the result backend, for its URL.

    :param pool_class: the alias of the worker pool as ``-P`` takes it.
    """
    if postgresql.is_of(url) and (told := postgresql.checked(postgresql.options(url), settings.tls_ca)):
        return [
            Default(
                "database_engine_options",
                {**DATABASE, "connect_args": told},
                "Without a check of its certificate anybody can stand in for the server. The rest is Celery's own.",
            )
        ]
    scheme = catalogue.scheme_of(url)
    shared = Default(
        "result_backend_thread_safe",
        True,
        "Celery makes a client for each greenlet, so that each result would take a connection of its own.",
    )
    encrypted = Default(
        "redis_backend_use_ssl",
        checked(settings.tls_ca),
        "Without a check of its certificate anybody can stand in for the server.",
    )
    return [
        *([encrypted] if scheme == "rediss" else []),
        *([shared] if scheme in catalogue.REDIS and pool_class in GREEN_POOLS else []),
    ]


def of_broker(settings: Settings, scheme: str) -> dict[str, Any]:
    """Return the value of each setting that depends on the broker, where it has one."""
    options = {item.name: item.value for item in transport_options(settings, scheme)}
    values = {item.name: item.value for item in broker_defaults(settings, scheme)}
    return {**values, "broker_transport_options": options}


OF_BROKER = frozenset().union(*(of_broker(Settings(), scheme) for scheme in ("amqp", "pgmq")))
"""The settings that depend on the broker."""
OF_BACKEND = frozenset(
    {
        "database_engine_options",
        "redis_backend_use_ssl",
        "result_backend_thread_safe",
        "result_backend_transport_options",  # Sentinel's
    }
)
"""The settings that depend on the result backend."""
