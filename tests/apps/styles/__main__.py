"""Answer what two tasks have, each question in a process of its own: a line of JSON in, a line out."""

import gc
import importlib
import json
import os
import sys
import traceback

import asked
from celery import signals
from celery.app.task import Task
from namers import NAMERS
from ways import WAYS

import celerykit
from celerykit.loader import WORKER_STEPS

for name in (
    *(step.partition(":")[0] for step in WORKER_STEPS),
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.backends.base",
    "celery.backends.rpc",
    "celery.contrib.django.task",
    "celery.concurrency.asynpool",
    "celery.fixups.django",
    "celery.worker.components",
    "celery.worker.consumer.delayed_delivery",
    "celerykit.beat",
    "celerykit.worker.consumer",
    "django.contrib.auth.management",
    "django.core.cache.backends.filebased",
    "django.core.checks",
    "django.db.models",
    "django.test.signals",
    "django.urls",
    "django.utils.translation.trans_real",
    "kombu.transport.memory",
    "kombu.transport.pyamqp",
):
    importlib.import_module(name)  # here once, and not in each process
gc.disable()
gc.freeze()


def do_nothing(what=""):
    """Do nothing."""


def tasks_of(app):
    """Return the tasks of an app: one that is named early, and one that is not."""
    if os.environ.get("DJANGO_SETTINGS_MODULE") or app.main == "default":
        from store.tasks import other, say

        return say, other
    return asked.SAY or app.task(name="say")(do_nothing), app.task(name="other")(do_nothing)


def worker(app):
    """Go as far as a worker goes before it consumes."""
    app.Worker(quiet=True)


def beat(app):
    """Go as far as beat goes before it ticks."""
    made = app.Beat(schedule="/nonexistent/schedule", quiet=True)
    made.init_loader()
    service = made.Service(app=app, max_interval=made.max_interval, scheduler_cls=made.scheduler_cls)
    service.get_scheduler(lazy=True)
    signals.beat_init.send(sender=service)


def producer(app):
    """Do what a program does that sends jobs."""
    app.finalize()


ROLES = {"producer": producer, "worker": worker, "beat": beat}


def answer(question):
    """Make the app as asked, and return the attributes of its tasks and where its jobs go."""
    asked.OWN = question["own"]
    asked.BROKER = question["broker"]
    times = []
    kit = question["kit"]
    if kit == "loader":
        os.environ["CELERY_LOADER"] = "celerykit.loader:Loader"
    app = WAYS[question["way"]](celerykit.configure if kit == "first" else lambda app: None, question["own"])
    app.on_after_configure.connect(lambda **_: times.append(1), weak=False)
    say, other = tasks_of(app)
    NAMERS[question["namer"]](app, say, other)
    if kit == "last":
        celerykit.configure(app)
    if kit == "bound":
        ROLES[question["role"]](app)
        celerykit.configure(app)
    ROLES[question["role"]](app)
    return {
        "say": {name: getattr(app.tasks["say"], name) for name, _ in Task.from_config},
        "other": {name: getattr(app.tasks["other"], name) for name, _ in Task.from_config},
        "multiplier": app.conf.worker_prefetch_multiplier,
        "configured": len(times),
        "schedule": sorted(app.conf.beat_schedule),
        "exchange": app.amqp.queues["celery"].exchange.name,
    }


def answer_or_say_why_not(question):
    """Return the answer, or the traceback that there was instead."""
    try:
        return answer(question)
    except Exception:  # whatever an app may raise
        return {"error": traceback.format_exc()}


for line in sys.stdin:
    reading, writing = os.pipe()
    if not (child := os.fork()):
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer_or_say_why_not(json.loads(line)), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        print(pipe.read(), flush=True)
    os.waitpid(child, 0)
