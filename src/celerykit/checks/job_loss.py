"""The check of a configuration for job loss, without starting a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from celerykit import launch, process
from celerykit.brokers import catalogue, rabbitmq, tls
from celerykit.celery_app import binding
from celerykit.checks import result_files
from celerykit.compat import app_settings
from celerykit.config import environment, pool_kinds, settings
from celerykit.errors import ConfigurationError, Finding
from celerykit.messages import serialization
from celerykit.tuning import startup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LATE = "acks_late"
REJECT = "reject_on_worker_lost"


def check(pools: Sequence[str]) -> list[Finding]:
    """Check the named pools, else all pools with an env file, else the environment alone.

    A process can import an app with one environment only, so each of several pools is checked in its own process.
    """
    names = list(pools) or environment.pools(environment.config_dir(os.environ)) or [environment.DEFAULT_POOL]
    if len(names) == 1:
        return check_pool(names[0])
    findings = [finding for name in names for finding in _check_apart(name)]
    return list(dict.fromkeys(findings))


def check_pool(pool: str) -> list[Finding]:
    """Check one pool in this process: its environment, then the app and its tasks under it."""
    try:
        ready, _ = launch.prepare("worker", os.environ, pool, [])
    except ConfigurationError as exc:
        return list(exc.findings)
    launch.enter(ready)
    try:
        app = launch.load_app(ready)
    except ConfigurationError as exc:
        return list(exc.findings)
    app.finalize()
    advice = [*_judge_autoscale(ready), *_judge_memory(ready, app), *judge(app, ready.settings)]
    return [*advice, *_judge_routes(app, _place(app))]


def judge(app: Any, config: settings.Settings) -> Iterator[Finding]:
    """Yield the settings of ``app`` that can lose jobs, or run them twice, in a worker."""
    where = _place(app)
    yield from _judge_layer(app, where)
    yield from _judge_sending(app, where)
    if config.delivery == settings.AT_LEAST_ONCE:
        yield from _judge_tasks(app, where)
        yield from _judge_endings(app, config, where)
        yield from _judge_broadcasts(app, where)
        yield from catalogue.advice(app, where)
    yield from serialization.advice(app, where)
    yield from tls.unchecked(app, where)
    yield from _judge_visibility(app, config, where)
    yield from _judge_durability(app, where)
    yield from _judge_rabbitmq(app, where)
    yield from _judge_results(app, where)
    yield from result_files.unwritable(app, where)


def _check_apart(pool: str) -> list[Finding]:
    command = [sys.executable, "-m", "celerykit", "check", pool, "--format", "json"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    try:
        return [Finding(**item) for item in json.loads(answer.stdout)]
    except ValueError:
        problem = f"the check of this pool ended with exit code {answer.returncode} and no answer"
        return [Finding("POOL", pool, "celerykit check", problem, f"See the output of 'celerykit check {pool}'")]


def _judge_layer(app: Any, where: str) -> Iterator[Finding]:
    from celerykit.celery_app.layer import layer_of

    app.conf.get("task_acks_late")  # configures the app, if nothing has yet
    if layer_of(app.conf) is None:
        name = f"{type(app.loader).__module__}.{type(app.loader).__qualname__}"
        problem = "the app was made with a loader of its own, so the kit's safe defaults are not there"
        yield Finding("loader", name, where, problem, "Drop loader=, or call celerykit.configure(app)")


def _judge_sending(app: Any, where: str) -> Iterator[Finding]:
    if app.conf.task_always_eager:
        problem = "a job runs in the process that sends it, and is lost when that dies: it never reaches the broker"
        remedy = "Leave it out; some apps set it themselves until a setting of theirs names a broker"
        yield Finding("task_always_eager", "True", where, problem, remedy)


def _judge_tasks(app: Any, where: str) -> Iterator[Finding]:
    early = "acknowledged when it starts, so it is lost when its worker dies"
    lost = "acknowledged when its pool child dies, so it is lost then"
    for attribute, problem in ((LATE, early), (REJECT, lost)):
        name = f"task_{attribute}"
        tasks = [task for name, task in sorted(app.tasks.items()) if not name.startswith("celery.")]
        unsafe = [task for task in tasks if not getattr(task, attribute)]
        if app.conf[name]:
            yield from (_judge_task(app, task, attribute, problem, where) for task in unsafe)
        # An unset one is Celery's own default, because the kit's layer is missing.
        elif unsafe and app_settings.is_set(app.conf, name):
            remedy = f"Drop {name} from the app's settings, or set CELERYKIT_DELIVERY={settings.AT_MOST_ONCE}"
            held = f"a job is {problem}; that holds for {len(unsafe)} of the app's {len(tasks)} tasks"
            yield Finding(name, "False", where, held, remedy)


def _judge_task(app: Any, task: Any, attribute: str, problem: str, where: str) -> Finding:
    origin, holder = binding.origin(task, attribute)
    value = str(getattr(task, attribute))
    if origin == binding.CLASS:
        source = f"task {task.name}, {binding.place(task, holder)}"
        return Finding(attribute, value, source, f"the job is {problem}", f"Drop {attribute}= there")
    problem = f"a job of task {task.name} is {problem}"
    if origin == binding.ANNOTATIONS:
        remedy = f"Drop {attribute} from the app's task_annotations"
        return Finding(binding.ANNOTATIONS, f"{attribute}={value}", where, problem, remedy)
    remedy = f"Set task_{attribute} before anything names the task: the task copies the setting at that moment"
    return Finding(f"task_{attribute}", value, binding.place(task, holder), problem, remedy)


def _judge_endings(app: Any, config: settings.Settings, where: str) -> Iterator[Finding]:
    """Yield the settings that let a job end without a result, and the fate of such a job."""
    buried = "a job that fails is not run again: it goes to the dead letters"
    again = f"a job beyond its hard time limit is FAILURE and runs again, {config.max_deliveries} times at most"
    for attribute, problem in (("acks_on_failure", buried), ("acks_on_timeout", again)):
        tasks = [task for name, task in sorted(app.tasks.items()) if not name.startswith("celery.")]
        names = [
            task.name
            for task in tasks
            if task.acks_late and not app_settings.acks(task, attribute.removeprefix("acks_on_"))
        ]
        if not names:
            continue
        settings_of = (f"task_{attribute}", "task_acks_on_failure_or_timeout")
        name = next((name for name in settings_of if app.conf.get(name) is False), attribute)
        held = f"{problem}; that holds for {len(names)} of the app's {len(tasks)} tasks ({', '.join(names[:3])})"
        yield Finding(name, "False", where, held, "Leave it out, and let the task retry passing errors (autoretry_for)")


def _judge_broadcasts(app: Any, where: str) -> Iterator[Finding]:
    from kombu.common import Broadcast

    for name, queue in sorted(app.amqp.queues.items()):
        if isinstance(queue, Broadcast):
            problem = "a broadcast reaches the workers that are connected; no broker keeps it for one that is away"
            yield Finding("task_queues", name, where, problem, "Send jobs that must run to a queue of another kind")


def _judge_autoscale(ready: process.Launch) -> Iterator[Finding]:
    name = "CELERY_WORKER_AUTOSCALE"
    if ready.pool_class == pool_kinds.THREADS and (value := ready.environment.values.get(name)):
        problem = "Celery's autoscaler ends a worker whose pool of threads is Celery's own at the first job beyond it"
        remedy = f"Drop it: the kit's pool of threads adapts by itself, and {settings.variable('tune')} says whether"
        yield Finding(name, value, ready.environment.sources.get(name, environment.INHERITED), problem, remedy)


def _judge_memory(ready: process.Launch, app: Any) -> list[Finding]:
    try:
        tuned = startup.tune(ready, app)
    except ConfigurationError:  # of this process's limits; the worker's own start reports its own
        return []
    return [*startup.overcommitted(tuned)] if tuned else []


def _judge_visibility(app: Any, config: settings.Settings, where: str) -> Iterator[Finding]:
    options = app.conf.broker_transport_options or {}
    timeout = options.get("visibility_timeout")
    if timeout is None or not catalogue.goes_by_time(app, config):
        return
    usual = "an hour, as CELERYKIT_LONGEST_JOB is not set"
    limits = {
        usual if config.longest_job is None else f"CELERYKIT_LONGEST_JOB={config.longest_job:g}": config.presumed_job
    }
    limits |= {
        f"the time limit of task {task.name}": app_settings.time_limit(task) or 0.0 for task in app.tasks.values()
    }
    name, longest = max(limits.items(), key=lambda item: item[1])
    if timeout < longest:
        problem = f"shorter than {name} ({longest:g} s), so such a job runs again while it still runs"
        remedy = f"Leave it out, and set CELERYKIT_LONGEST_JOB to at least {longest:g}"
        yield Finding("visibility_timeout", f"{timeout:g}", where, problem, remedy)


def _judge_durability(app: Any, where: str) -> Iterator[Finding]:
    problem = "jobs are not written to disk and vanish when the broker restarts"
    if str(app.conf.task_default_delivery_mode) in {"1", "transient"}:
        yield Finding(
            "task_default_delivery_mode", str(app.conf.task_default_delivery_mode), where, problem, "Leave it out"
        )
    for name, queue in sorted(app.amqp.queues.items()):
        if not queue.durable or getattr(queue.exchange, "delivery_mode", None) in {1, "transient"}:
            yield Finding(
                "task_queues", name, where, problem, "Make the queue durable and its delivery mode persistent"
            )


def _judge_rabbitmq(app: Any, where: str) -> Iterator[Finding]:
    if not catalogue.is_rabbitmq(app):
        return
    for name, other in rabbitmq.entangled({*app.amqp.queues, *_queues_of_pools()}):
        problem = (
            f"each of its jobs is put into {other}, too: RabbitMQ finds a delayed job's queue by the end of its name"
        )
        yield Finding("queues", name, where, problem, "Rename one of the two")
    for name in ("control_queue", "event_queue"):
        if not app.conf.get(f"{name}_exclusive", True) and not app.conf.get(f"{name}_durable"):
            problem = "RabbitMQ 4.3 refuses a queue that is neither exclusive nor durable, and the worker cannot start"
            yield Finding(f"{name}_exclusive", "False", where, problem, f"Leave it out, or set {name}_durable")
    for name, queue in sorted(app.amqp.queues.items()):
        arguments = queue.queue_arguments or {}
        if arguments.get("x-queue-type") == catalogue.QUORUM and (queue.max_priority or "x-max-priority" in arguments):
            problem = "a quorum queue takes no x-max-priority, and the worker cannot start"
            remedy = "Leave it out: from 4.0 on a quorum queue puts priorities above 4 before the others"
            yield Finding("task_queue_max_priority", name, where, problem, remedy)


def _queues_of_pools() -> Iterator[str]:
    """Yield the queues in this process's environment, and those of every pool with an env file."""
    files = (pool.values for _, pool in environment.of_pools(environment.config_dir(os.environ)))
    for values in (os.environ, *files):
        yield from (name for name in values.get("CELERY_WORKER_QUEUES", "").split(",") if name)


def _judge_routes(app: Any, where: str) -> Iterator[Finding]:
    """Yield a finding for each queue that tasks are routed to and no pool of this machine consumes."""
    of_app = set(app.amqp.queues)  # before routes are resolved, because that creates missing queues
    pools = _consumed_by_pools()
    if pools is None:
        return
    consumed = {name for names in pools for name in names or of_app}
    waiting: dict[str, list[str]] = {}
    for name, task in sorted(app.tasks.items()):
        if not name.startswith("celery.") and (queue := _queue_of(app, task)) and queue not in consumed:
            waiting.setdefault(queue, []).append(name)
    for queue, names in waiting.items():
        problem = f"no pool of this machine consumes that queue: jobs of {', '.join(names[:3])} wait in it"
        yield Finding(
            "task_routes", queue, where, problem, "Name it in CELERY_WORKER_QUEUES of a pool, here or elsewhere"
        )


def _consumed_by_pools() -> list[list[str]] | None:
    """Return each pool's queues, an empty list for all of the app's; None if other machines may have pools."""
    pools: list[Mapping[str, str]] = [
        values.values for _, values in environment.of_pools(environment.config_dir(os.environ))
    ]
    if not pools and os.environ.get("CELERY_WORKER_QUEUES"):
        return None  # a container of one pool has no view of the others
    named = [values.get("CELERY_WORKER_QUEUES", "") for values in pools or [os.environ]]
    return [[name for name in names.split(",") if name] for names in named]


def _queue_of(app: Any, task: Any) -> str:
    """Return the queue of a task's jobs, an empty string where the route depends on the job."""
    from kombu.common import Broadcast

    options = {"queue": task.queue} if getattr(task, "queue", None) else {}
    try:
        queue = app.amqp.router.route(options, task.name, task_type=task).get("queue")
    except Exception:  # a router of the app's own may need a real job
        return ""
    return "" if isinstance(queue, Broadcast) else str(getattr(queue, "name", queue) or "")


def _judge_results(app: Any, where: str) -> Iterator[Finding]:
    """Check that results on Redis expire; in a database they may be records of the app's own."""
    if catalogue.scheme_of(app.conf.result_backend or "") in catalogue.REDIS and not app.conf.result_expires:
        problem = "results are kept for ever, until the backend is full and refuses jobs"
        yield Finding(
            "result_expires", str(app.conf.result_expires), where, problem, "Set it to some seconds, or leave it out"
        )


def _place(app: Any) -> str:
    return _where(sys.modules.get(app.main or "")) or f"app {app.main or 'unnamed'}"


def _where(module: Any) -> str | None:
    return getattr(module, "__file__", None)
