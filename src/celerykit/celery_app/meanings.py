"""The settings of Celery that have another effect, or none, under the kit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery.app.utils import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SOFT_SHUTDOWN = "worker_soft_shutdown_timeout"
ON_IDLE = "worker_enable_soft_shutdown_on_idle"
POOL = "worker_pool"


@dataclass(frozen=True)
class Meaning:
    """A setting, and its effect under the kit."""

    name: str
    text: str


MEANINGS = (
    Meaning(
        SOFT_SHUTDOWN,
        "The most that running jobs get after a QUIT or a second INT. The worker ends with the last of them, and not "
        "later than `CELERYKIT_STOP_TIMEOUT` allows; Celery always waits for all of that time. A TERM drains for the "
        "stop budget, unless you have set `REMAP_SIGTERM=SIGQUIT` yourself.",
    ),
    Meaning(
        ON_IDLE,
        "No effect: an idle worker ends at once, in each pool. What it holds, jobs with an ETA included, goes back to "
        "its queue at every stop.",
    ),
    Meaning(
        POOL,
        "No effect: `CELERY_WORKER_POOL` or `-P` says the kind, else prefork or one of `CELERYKIT_POOL_KINDS`. "
        "It must be known before the app is imported, for gevent's sake.",
    ),
    Meaning(
        "worker_concurrency",
        "The app's own holds, with `CELERYKIT_TUNE=force` only where a command or a variable says it. So it is with "
        "`worker_prefetch_multiplier` and `worker_max_memory_per_child`.",
    ),
    Meaning(
        "worker_consumer",
        "A class of your own is used. Unless `celerykit.worker.consumer:Consumer` is its base, unknown and unreadable "
        "jobs are dropped, as Celery does, instead of kept in the dead letters.",
    ),
    Meaning(
        "worker_state_db",
        "Beside it, Redis and RabbitMQ keep revocations, for all workers.",
    ),
    Meaning(
        "task_acks_late",
        "With `False`, as in Celery, a job is acknowledged once its pool has accepted it; where the promise is "
        "`at-most-once`, before that.",
    ),
    Meaning(
        "task_reject_on_worker_lost",
        "With `True` the job runs again after 1, 2, 4, ... 60 s, and `CELERYKIT_MAX_DELIVERIES` times at most; in "
        "Celery at once, and without end.",
    ),
    Meaning(
        "task_retry_on_worker_lost",
        "As in Celery: the job is retried `max_retries` times. Each retry counts its deliveries anew.",
    ),
    Meaning(
        "task_acks_on_failure",
        "With `False` a failed job is also kept in the dead letters; Celery drops it. RabbitMQ follows the queue's "
        "policy.",
    ),
    Meaning(
        "task_acks_on_timeout",
        "With `False` the job runs again `CELERYKIT_MAX_DELIVERIES` times at most; in Celery without end.",
    ),
    Meaning("task_acks_on_failure_or_timeout", "Both of these."),
    Meaning(
        "task_publish_retry_policy",
        "What a job leads to, such as its retry, is tried for up to 15 s, and then the job goes back to its queue.",
    ),
    Meaning(
        "task_default_exchange_type",
        "On RabbitMQ, queues without an exchange of their own are bound to the kit's topic exchange, and to Celery's "
        "direct one. They have Celery's alone if both this and `task_default_exchange` are set.",
    ),
    Meaning(
        "broker_native_delayed_delivery_queue_type",
        "Queues of delayed jobs that are there already are left as they are; Celery's worker ends there.",
    ),
    Meaning(
        "broker_transport_options",
        "On Redis, `visibility_timeout` and `unacked_restore_*` are for stock workers: the kit's hold their jobs under "
        "a lease, for as long as they take.",
    ),
    Meaning(
        "result_backend_always_retry",
        "Holds for a result backend that answers and refuses, too, and so does `result_backend_max_retries`.",
    ),
    Meaning(
        "beat_schedule_filename",
        "The kit reads Celery's file, and writes it anew in a format of its own, which Celery cannot read.",
    ),
    Meaning("beat_max_loop_interval", "Without one, beat looks at its schedule every 30 s at least."),
)


def set_by(conf: Any) -> Iterator[tuple[Meaning, Any]]:
    """Yield each of :data:`MEANINGS` that an app has set itself, with its value.

    :param conf: the app's configuration.
    """
    from celerykit.celery_app.layer import Layer

    conf.finalize()  # nothing may have read it yet
    of_app = Settings({}, [item for item in conf.maps[:-1] if not isinstance(item, Layer)], conf._keys, conf.prefix)
    yield from ((meaning, conf[meaning.name]) for meaning in MEANINGS if meaning.name in of_app)


def without_effect(conf: Any, pool: str, drain: float) -> Iterator[str]:
    """Yield the log line of each setting of the app without effect, with the effect that it has instead.

    :param pool: the kind of the running pool, by Celery's alias.
    :param drain: seconds for which a stop lets jobs run.
    """
    for meaning, value in set_by(conf):
        ignored = (
            (meaning.name == ON_IDLE and value)
            or (meaning.name == POOL and value != pool)
            or (meaning.name == SOFT_SHUTDOWN and value > drain)
        )
        if ignored:
            bound = f" It is bounded to {drain:g} s." if meaning.name == SOFT_SHUTDOWN else ""
            yield f"{meaning.name}={value!r} of the app, under celerykit:{bound} {meaning.text}"
