"""Features that older releases of Celery, Kombu and redis-py lack, by the names that :mod:`celerykit.releases` uses."""

from __future__ import annotations

from dataclasses import dataclass

Version = tuple[int, ...]


@dataclass(frozen=True)
class Difference:
    """A feature that a package lacks before some release."""

    package: str
    since: Version
    lacks: str
    """The missing feature, in words."""
    instead: str
    """The kit's replacement, in words."""
    shows: bool = False
    """Whether users can notice the difference in spite of it."""


DIFFERENCES = {
    "pgmq": Difference(
        "kombu",
        (5, 7),
        "PGMQ as a broker",
        "`pgmq://` is refused at the start",
        shows=True,
    ),
    "auto": Difference(
        "celery",
        (5, 7),
        "`auto` as a concurrency",
        "the kit counts the CPUs, as 5.7 does, and gives their number",
    ),
    "stored success": Difference(
        "celery",
        (5, 7),
        "a check whether a job had succeeded when its child died",
        "such a job runs once more",
        shows=True,
    ),
    "acks at once": Difference(
        "celery",
        (5, 7),
        "acknowledgements that wait for no turn of the event loop",
        "the kit acknowledges at once on Redis, and wakes the loop elsewhere",
    ),
    "timers": Difference(
        "celery",
        (5, 7),
        "timers, those of time limits among them, that outlast a lost connection",
        "the kit keeps them",
    ),
    "closed connections": Difference(
        "celery",
        (5, 7),
        "the end of a connection that has broken",
        "the kit closes it, within a bound",
    ),
    "settings by any name": Difference(
        "celery",
        (5, 7),
        "an answer whether an app has a setting, in any style of names",
        "the kit looks for old and namespaced names, too",
    ),
    "exclusive control queues": Difference(
        "celery",
        (5, 7),
        "queues of commands and events that RabbitMQ 4.3 takes, by default",
        "the kit's defaults make them exclusive, on 5.6; on 5.5 RabbitMQ 4.3 has to permit `transient_nonexcl_queues`",
    ),
    "acks by ending": Difference(
        "celery",
        (5, 7),
        "`task_acks_on_failure` and `task_acks_on_timeout`",
        "`task_acks_on_failure_or_timeout` is for both",
        shows=True,
    ),
    "claims of chords": Difference(
        "celery",
        (5, 7),
        "chords on Redis whose parts may return twice",
        "a part waits until the broker takes the chord's body, however long that takes",
        shows=True,
    ),
    "one retry for all": Difference(
        "celery",
        (5, 7),
        "retries of every call to a result backend",
        "the kit waits where a result is stored or read",
    ),
    "scheduled requests": Difference(
        "celery",
        (5, 7),
        "a list of the jobs that wait in a worker for their ETA",
        "at the end of a stop they go back with the connection",
    ),
    "time limits of tasks": Difference(
        "celery",
        (5, 7),
        "tasks that know their app's time limit",
        "the kit looks it up",
    ),
    "pools that remember": Difference(
        "celery",
        (5, 7),
        "a prefork pool that knows which children work when the connection has broken",
        "the kit tells it, so that no job waits behind another",
    ),
    "known prefetch": Difference(
        "celery",
        (5, 7),
        "an answer whether the broker keeps a consumer's first prefetch count",
        "the kit asks Celery's own step",
    ),
    "merged revocations": Difference(
        "celery",
        (5, 7),
        "a function for jobs that were revoked elsewhere",
        "the kit adds them to the revoked jobs",
    ),
    "links told apart": Difference(
        "celery",
        (5, 7),
        "a step of its own for the links of a job",
        "the kit recognizes a link, a chain and a group by the code that sends them",
    ),
    "steady polling": Difference(
        "kombu",
        (5, 7),
        "an event loop that goes on to ask Redis for jobs when one of its connections has broken",
        "the kit's transport goes on",
    ),
    "restore interval": Difference(
        "kombu",
        (5, 7),
        "`unacked_restore_interval`",
        "the kit's transport looks for jobs of dead stock workers by a timer of its own",
    ),
    "queue types": Difference(
        "celery",
        (5, 6),
        "`task_create_missing_queue_type`",
        "the kit's queues are quorum queues all the same",
    ),
    "retry hook": Difference(
        "celery",
        (5, 6),
        "a hook for each attempt to reach the result backend",
        "each pause between two attempts counts as progress",
    ),
    "eta limit": Difference(
        "celery",
        (5, 6),
        "`worker_eta_task_limit`",
        "jobs that are not due wait on the broker, as on each release; those that it does not take back have no limit",
        shows=True,
    ),
}
ON_INNER_PARTS = (
    "celerykit.worker.timers:Timers",
    "celerykit.worker.publishing:Publishing",
    "celerykit.worker.recorder:Records",
    "celerykit.worker.autoscaler:Adapting",
    "celerykit.worker.termination:Answers",
    "celerykit.worker.waiting:Scheduled",
)
"""The worker steps that a newer Celery may break; without them no job is lost."""
