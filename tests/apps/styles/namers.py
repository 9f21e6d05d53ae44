"""Where an app's own code can name a task before the app is finalized: each a function of the app and two tasks."""

import contextlib

from celery import signals


def schedule(app, say, other):
    """Add a periodic task, as Celery's guide does."""

    @app.on_after_configure.connect(weak=False)
    def setup(sender, **_):
        sender.add_periodic_task(10.0, say.s("hello"), name="every 10")


def send(app, say, other):
    """Send one from the receiver."""

    @app.on_after_configure.connect(weak=False)
    def setup(sender, **_):
        say.delay("hello")


def registry(app, say, other):
    """Look into the registry there, which finalizes the app."""

    @app.on_after_configure.connect(weak=False)
    def setup(sender, **_):
        with contextlib.suppress(RuntimeError):  # of an app that is finalized by hand
            sender.tasks["other"].s()


def attribute(app, say, other):
    """Read an attribute there, and where jobs go."""

    @app.on_after_configure.connect(weak=False)
    def setup(sender, **_):
        assert say.acks_late is not None
        assert sender.amqp.queues["celery"]


def finalized(app, say, other):
    """Add a periodic task when the app is finalized."""

    @app.on_after_finalize.connect(weak=False)
    def setup(sender, **_):
        sender.add_periodic_task(10.0, say.s("hello"), name="every 10")


def configuring(app, say, other):
    """Name one when the configuration begins."""

    @app.on_configure.connect(weak=False)
    def setup(sender, **_):
        say.s("hello")


def lazy_default(app, say, other):
    """Name one in a default that is a function."""
    app.add_defaults(lambda: {"beat_schedule": {"every 10": {"task": say.name, "schedule": 10.0}}})


def at_import(app, say, other):
    """Name one where the app is made."""
    app.conf.beat_schedule = {"every 10": {"task": say.name, "schedule": 10.0}}


def pending(app, say, other):
    """Add a periodic task where the app is made."""
    app.add_periodic_task(10.0, say.s("hello"), name="every 10")


def of_signal(name):
    """Return a namer that names one in a receiver of one of Celery's signals."""

    def name_it(app, say, other):
        @getattr(signals, name).connect(weak=False)
        def setup(**_):
            say.s("hello")

    return name_it


NAMERS = {
    namer.__name__: namer
    for namer in (schedule, send, registry, attribute, finalized, configuring, lazy_default, at_import, pending)
} | {
    name: of_signal(name)
    for name in ("import_modules", "celeryd_init", "celeryd_after_setup", "worker_init", "beat_init")
}
