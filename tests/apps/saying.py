"""Print what holds for apps that name a broker and a result backend in each style, and what is said of it."""

import json
import os
import sys

from celery import Celery

from celerykit import launch
from celerykit.celery_app import precedence

OWN = {"broker_url": "redis://me:hunter2@mine/0", "result_backend": "cache+memory://"}


class Module:
    """Settings as a module has them."""

    broker_url, result_backend = OWN.values()


class Django:
    """Settings of a Django project."""

    CELERY_BROKER_URL, CELERY_RESULT_BACKEND = OWN.values()


class Old:
    """Settings as they were called in Celery 3."""

    BROKER_URL, CELERY_RESULT_BACKEND = OWN.values()


def late():
    """Return an app that says it when its settings are in use."""
    app = Celery("late")
    app.conf.task_always_eager  # noqa: B018  # from here on they are
    app.conf.update(OWN)
    return app


def loaded(settings, **options):
    """Return an app with settings of an object."""
    app = Celery("loaded")
    app.config_from_object(settings, **options)
    return app


def assigned():
    """Return an app that says it before anything has asked."""
    app = Celery("assigned")
    app.conf.broker_url, app.conf.result_backend = OWN.values()
    return app


def without():
    """Return an app that wants no results."""
    return Celery("without", broker=OWN["broker_url"], backend="disabled://")


STYLES = {
    "arguments": lambda: Celery("arguments", broker=OWN["broker_url"], backend=OWN["result_backend"]),
    "assigned": assigned,
    "late": late,
    "module": lambda: loaded(Module),
    "namespace": lambda: loaded(Django, namespace="CELERY"),
    "old names": lambda: loaded(Old),
    "without": without,
    "silent": lambda: Celery("silent"),
}
told = launch.prepare("worker", os.environ, "default", ["-A", "saying"])[0]
launch.enter(told)
answer = {}
for style, make in STYLES.items():
    app = make()
    holds = app.conf.broker_url, str(app.conf.result_backend), type(app.backend).__name__
    answer[style] = [*holds, [*map(str, precedence.differing(app, told.environment))]]
json.dump(answer, sys.stdout)
