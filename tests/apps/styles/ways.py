"""Every documented way to configure an app: each a function of what is called with the new app, and its settings."""

import os
import pickle

import asked
from celery import Celery

OLD = {
    "task_time_limit": "CELERYD_TASK_TIME_LIMIT",
    "task_ignore_result": "CELERY_IGNORE_RESULT",
    "task_default_rate_limit": "CELERY_DEFAULT_RATE_LIMIT",
    "task_acks_late": "CELERY_ACKS_LATE",
    "task_reject_on_worker_lost": "CELERY_REJECT_ON_WORKER_LOST",
}


def plain(made, **options):
    """Make an app, without settings if none are given."""
    app = Celery("styles", broker=asked.BROKER, **options)
    made(app)
    return app


def keywords(made, own):
    """Give the settings to the app, as Celery's example does with late acknowledgement."""
    return plain(made, **own)


def changes(made, own):
    """Give them as changes."""
    return plain(made, changes=dict(own))


def source(made, own):
    """Name their module to the app."""
    return plain(made, config_source="celeryconfig")


def update(made, own):
    """Update the configuration."""
    app = plain(made)
    app.conf.update(own)
    return app


def assign(made, own):
    """Assign them one by one."""
    app = plain(made)
    for name, value in own.items():
        setattr(app.conf, name, value)
    return app


def assign_late(made, own):
    """Assign them after the first look at the configuration, by key."""
    app = plain(made)
    assert app.conf.timezone is None
    for name, value in own.items():
        app.conf[name] = value
    return app


def module(made, own):
    """Name the module."""
    app = plain(made)
    app.config_from_object("celeryconfig")
    return app


def imported(made, own):
    """Import the module."""
    import celeryconfig

    app = plain(made)
    app.config_from_object(celeryconfig)
    return app


def kind(made, own):
    """Make a class of them."""
    app = plain(made)
    app.config_from_object(type("Config", (), dict(own)))
    return app


def old_names(made, own):
    """Use the names of Celery 3."""
    app = plain(made)
    app.config_from_object(type("Config", (), {OLD[name]: value for name, value in own.items()}))
    return app


def namespace(made, own):
    """Name a module where they have a prefix."""
    app = plain(made)
    app.config_from_object("prefixed", namespace="CELERY")
    return app


def envvar(made, own):
    """Name a variable that names the module."""
    os.environ["PROJECT_SETTINGS"] = "celeryconfig"
    app = plain(made)
    app.config_from_envvar("PROJECT_SETTINGS")
    return app


def celery_s_variable(made, own):
    """Name the module in Celery's variable alone."""
    os.environ["CELERY_CONFIG_MODULE"] = "celeryconfig"
    return plain(made)


def forced(made, own):
    """Have the module read at once."""
    app = plain(made)
    app.config_from_object("celeryconfig", force=True)
    return app


def reloaded(made, own):
    """Name the module after the first look."""
    app = plain(made)
    assert app.conf.timezone is None
    app.config_from_object("celeryconfig")
    return app


def defaults(made, own):
    """Add them as defaults."""
    app = plain(made)
    app.add_defaults(own)
    return app


def lazy_defaults(made, own):
    """Add a function that returns them."""
    app = plain(made)
    app.add_defaults(lambda: own)
    return app


def late_defaults(made, own):
    """Add them as defaults after the first look."""
    app = plain(made)
    assert app.conf.timezone is None
    app.add_defaults(own)
    return app


def on_configure(made, own):
    """Connect a receiver to the beginning of the configuration."""
    app = plain(made)

    @app.on_configure.connect(weak=False)
    def receive(sender, **_):
        sender.conf.update(own)

    return app


def on_after_configure(made, own):
    """Connect one to its end."""
    app = plain(made)

    @app.on_after_configure.connect(weak=False)
    def receive(sender, **_):
        sender.conf.update(own)

    return app


def subclass(made, own):
    """Make a class of app with methods of its own, a module of settings and a task that it looks at early."""

    class Project(Celery):
        def on_configure(self):
            self.conf.update(own)

        def prepare_config(self, c):
            return super().prepare_config(c)

    app = Project("styles", broker=asked.BROKER)
    made(app)
    return app


def pickled(made, own):
    """Pickle an app and go on with the copy."""
    app = plain(made)
    app.conf.update(own)
    return pickle.loads(pickle.dumps(app))  # noqa: S301  # its own


def pickled_late(made, own):
    """Pickle it after the first look."""
    app = plain(made)
    app.conf.update(own)
    assert app.conf.timezone is None
    return pickle.loads(pickle.dumps(app))  # noqa: S301  # its own


def not_current(made, own):
    """Make an app beside the current one."""
    plain(lambda app: None)
    return plain(made, set_as_current=False, **own)


def current(made, own):
    """Go by Celery's proxy of the current app."""
    from celery import current_app

    plain(lambda app: None)
    made(current_app)
    current_app.conf.update(own)
    return current_app


def finalized_by_hand(made, own):
    """Make an app that nothing but a call finalizes."""
    return plain(made, autofinalize=False, **own)


def default(made, own):
    """Make none: Celery's default app has its settings in celeryconfig.py."""
    from celery import current_app

    app = current_app._get_current_object()
    made(app)
    return app


def django(made, own):
    """Take them from Django's settings, and the tasks from its apps, as Celery's example does."""
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "prefixed"
    app = Celery("styles", broker=asked.BROKER)
    made(app)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.autodiscover_tasks()
    django.setup()
    return app


def naming(made, own):
    """Name a module that names a task."""
    app = plain(made)
    app.config_from_object("naming")

    @app.task(name="say")
    def say(what=""):
        """Do nothing."""

    asked.SAY = say
    return app


WAYS = {
    way.__name__: way
    for way in (
        keywords,
        changes,
        source,
        update,
        assign,
        assign_late,
        module,
        imported,
        kind,
        old_names,
        namespace,
        envvar,
        celery_s_variable,
        forced,
        reloaded,
        defaults,
        lazy_defaults,
        late_defaults,
        on_configure,
        on_after_configure,
        subclass,
        pickled,
        pickled_late,
        not_current,
        current,
        finalized_by_hand,
        default,
        django,
        naming,
    )
}
