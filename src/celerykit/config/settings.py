"""The kit's own settings: the few numbers from which everything else follows."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celerykit import instance
from celerykit.config.pool_kinds import POOL_KINDS
from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "CELERYKIT_"
POOL = "CELERYKIT_POOL"
"""Set by ``celerykit worker POOL`` for its own process: the pool that it runs."""
REMAPPED = "CELERYKIT_REMAPPED"
"""Set by ``celerykit worker`` for its own process: the caller's ``REMAP_SIGTERM``, else ``celerykit``."""
AUTHORITY = PREFIX + "TLS_CA"
"""Names the file of :attr:`Settings.tls_ca`."""
AT_LEAST_ONCE = "at-least-once"
AT_MOST_ONCE = "at-most-once"
KIT = "kit"
STOCK = "stock"
ON = "on"
OFF = "off"
FORCE = "force"
PRESUMED_JOB = 3600.0
"""Seconds of a job's assumed duration, if no limit is set: Celery's own visibility timeout on Redis."""
MONTH = 30 * 86400.0
"""Seconds of a month. In milliseconds they fit into 32 bits, as a timer of RabbitMQ may need."""
CONFIG_DIR = Path(instance.named("/etc/celery"))


def _setting(default: Any, doc: str, *, kind: str) -> Any:
    return field(default=default, metadata={"doc": doc, "kind": kind})


@dataclass(frozen=True)
class Settings:
    """The settings of ``CELERYKIT_*`` variables, with defaults; :func:`from_environment` makes one."""

    stop_timeout: float = _setting(
        600.0,
        "Seconds that a stop may take. A worker drains until shortly before its end, then gives running jobs back to "
        "the queue. The stop time-outs of unit, container and program must be at least this long.",
        kind="seconds",
    )
    longest_job: float | None = _setting(
        None,
        "Seconds that a job may last; with stock workers on Redis, the wait for its ETA, too. Without it there is no "
        "limit. The default hard time limit of tasks and the broker's visibility timeout follow from it.",
        kind="seconds",
    )
    delivery: str = _setting(
        AT_LEAST_ONCE,
        f"`{AT_LEAST_ONCE}`: a job is acknowledged when it has ended, and runs again if its worker dies. "
        f"`{AT_MOST_ONCE}`: it is acknowledged before the pool gets it, and never runs twice.",
        kind="delivery",
    )
    max_deliveries: int = _setting(
        5,
        "The number of starts of a job whose child or worker dies each time; after the last one it is marked "
        "FAILURE and kept in the dead letters.",
        kind="count",
    )
    stuck_after: float = _setting(
        60.0,
        "Seconds without progress of the main thread after which the process writes all stacks to the log and ends "
        "itself. A job in threads, solo or gevent may hold up its worker for as long as it may last, and so much more.",
        kind="seconds",
    )
    start_within: float = _setting(
        1800.0,
        "Seconds that a start may take without progress before the process is stuck: the app's imports and handlers, "
        "such as that of `worker_ready`. An attempt to reach the broker is progress. The log says when it takes long.",
        kind="seconds",
    )
    redis_transport: str = _setting(
        KIT,
        f"`{KIT}`: workers on Redis hold their jobs under a lease, and no job is lost or waits for the visibility "
        f"timeout. `{STOCK}`: they fetch jobs as Celery does everywhere else. See [Redis](redis.md).",
        kind="transport",
    )
    tune: str = _setting(
        ON,
        f"`{ON}`: a worker's concurrency, prefetch and memory per child, unless they are set, follow from the limits "
        "of its container or machine, and from measurements of its jobs. "
        f"`{FORCE}`: even if the app has set them. `{OFF}`: Celery's defaults. See [Tuning](tuning.md).",
        kind="tune",
    )
    pool_kinds: tuple[str, ...] = _setting(
        ("prefork",),
        "The kinds of worker pool that the app may run in, the dearest first, such as `threads,prefork`: threads and "
        "greenlets only if it is safe for them. One is chosen where `CELERY_WORKER_POOL` names none.",
        kind="pool kinds",
    )
    weight: float = _setting(
        1.0,
        "This pool's part of the machine, beside the weights of the other pools that have an env file there.",
        kind="weight",
    )
    tls_ca: str = _setting(
        "",
        "File with the certificates, in PEM, of the authorities of brokers and result backends with TLS. "
        "Without it, the system's. See [TLS](tls.md).",
        kind="certificates",
    )
    app_env_file: str = _setting(
        "",
        "File with the app's own variables, such as `DATABASE_URL`, in lines of `KEY=value`. A value may hold "
        "any characters, and nothing in it is special. Any other source of a variable overrides the file. "
        "See [The app's own variables](#the-apps-own-variables).",
        kind="name",
    )
    result_backend: str = _setting(
        "",
        "URL of the result backend of an app that names none: stack and role set it to their own. An app's own "
        "`result_backend` wins, and `CELERY_RESULT_BACKEND` wins over both, as in Celery. A file that holds it is "
        "named by `CELERYKIT_RESULT_BACKEND_FILE`.",
        kind="name",
    )
    sentinel_master: str = _setting(
        "",
        "The name of the master at `sentinel://`. The client logs in to Sentinel as the URL's user. Without it, the "
        "app's transport options name it. See [Sentinel](redis.md#sentinel).",
        kind="name",
    )
    state_dir: str = _setting(
        instance.STATE_DIR,
        "Folder of the state files that `celerykit probe` reads. Default: `$RUNTIME_DIRECTORY`, else `/run/celery` "
        "where it can be written, else a folder of the user's own in the temporary directory.",
        kind="folder",
    )

    def in_force(self) -> dict[str, str]:
        """Return the value of each setting, by its variable."""
        return {variable(item.name): as_text(getattr(self, item.name)) for item in fields(self)}

    @property
    def presumed_job(self) -> float:
        """The longest duration of a job in seconds, for brokers that redeliver by time: an hour if no limit is set."""
        return PRESUMED_JOB if self.longest_job is None else self.longest_job

    @property
    def visibility_timeout(self) -> float:
        """Seconds after which a broker without connections redelivers a job.

        Longer than the hard time limit (:attr:`longest_job`), so that an overdue job is ended before it runs twice.
        """
        return self.presumed_job + 10.0

    @property
    def lease(self) -> float:
        """Seconds for which PGMQ reserves a job for a worker; a live worker renews them.

        Twice the time after which a stuck worker ends, so that a busy machine costs no job. It is never longer than the
        visibility timeout.
        """
        return min(self.visibility_timeout, 2 * self.stuck_after + 10.0)

    @property
    def consumer_timeout(self) -> float:
        """Seconds after which RabbitMQ takes a job away from a worker that neither acknowledges nor requeues it.

        A worker may hold a job until its ETA, then run it, then stop. Where a job may last for ever, that is a month.
        """
        return MONTH if self.longest_job is None else 2 * self.longest_job + self.stop_timeout

    @property
    def patience(self) -> float:
        """The most seconds to wait for one answer of the broker.

        A silently broken connection costs a worker's loop several such waits in a row. Together they must stay below
        :attr:`stuck_after`: a wait is a sixth of it, within 3 and 10 s.
        """
        return min(10.0, max(3.0, self.stuck_after / 6))

    @property
    def drain(self) -> float:
        """Seconds for which a stop lets jobs run.

        The rest of the stop budget, a quarter of it within 3 and 10 s, is for requeueing jobs and for ending.
        """
        return max(0.0, self.stop_timeout - min(10.0, max(3.0, self.stop_timeout / 4)))


def as_text(value: Any) -> str:
    """Return a setting's value in the format of its variable, an empty string for None."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def variable(name: str) -> str:
    """Return the environment variable of the setting ``name``."""
    return PREFIX + name.upper()


def names() -> frozenset[str]:
    """Return every variable that :func:`from_environment` reads."""
    return frozenset(variable(item.name) for item in fields(Settings)) | {PREFIX + "CONFIG_DIR", POOL, REMAPPED}


def from_environment(environ: Mapping[str, str], sources: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in an environment.

    :param sources: where each variable comes from, for messages.
    :raises ConfigurationError: naming each variable whose value does not fit.
    """
    values: dict[str, Any] = {"state_dir": instance.state_folder(environ)}
    findings = []
    for item in fields(Settings):
        name = variable(item.name)
        text = environ.get(name, "")
        if not text:
            continue
        try:
            values[item.name] = _PARSERS[item.metadata["kind"]](text)
        except ValueError as exc:
            source = (sources or {}).get(name, "environment")
            remedy = f"The default is {as_text(item.default)}" if item.default else "Mend it, or leave the variable out"
            findings.append(Finding(name, text, source, str(exc), remedy))
    if findings:
        raise ConfigurationError(*findings)
    return Settings(**values)


@functools.cache
def patience() -> float:
    """Return :attr:`Settings.patience` of this process, cached for calls at each message."""
    return from_environment(os.environ).patience


def _seconds(text: str) -> float:
    return _positive(text, "not a positive number of seconds")


def _weight(text: str) -> float:
    return _positive(text, "not a positive number")


def _positive(text: str, problem: str) -> float:
    number = float(text) if text.replace(".", "", 1).isdecimal() else 0.0
    if number <= 0:
        raise ValueError(problem)
    return number


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError("not a whole number of at least 1")
    return int(text)


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"neither {', '.join(words[:-1])} nor {words[-1]}")
        return text

    return parse


def _pool_kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(text.split(","))
    if unknown := [kind for kind in kinds if kind not in POOL_KINDS]:
        raise ValueError(f"{unknown[0] or 'an empty name'} is none of {', '.join(POOL_KINDS)}")
    return kinds


def _certificates(text: str) -> str:
    import ssl  # here, because its import is slow and only TLS needs it

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(text)
    except OSError as exc:
        raise ValueError(f"no certificates can be read there: {exc.strerror or exc}") from exc
    return text


_PARSERS: dict[str, Callable[[str], Any]] = {
    "seconds": _seconds,
    "count": _count,
    "delivery": _one_of(AT_LEAST_ONCE, AT_MOST_ONCE),
    "transport": _one_of(KIT, STOCK),
    "tune": _one_of(ON, OFF, FORCE),
    "pool kinds": _pool_kinds,
    "weight": _weight,
    "certificates": _certificates,
    "folder": str,
    "name": str,
}
