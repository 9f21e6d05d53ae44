"""Celery's loader with the kit: an app gets the kit's layer of settings, its worker parts and its transports."""

from __future__ import annotations

import functools
import logging
import os
from typing import TYPE_CHECKING, Any

from celerykit import releases

# Before imports that fail on an older release: the import of this module then raises one clear error.
NEWER = releases.require()

from celery.app.base import PendingConfiguration
from celery.loaders.app import AppLoader
from celery.loaders.default import Loader as DefaultLoader
from celery.local import Proxy

from celerykit import transports
from celerykit.brokers import django_results, rabbitmq
from celerykit.celery_app import binding
from celerykit.celery_app.layer import NOTHING, insert_layer, layer_of, merge_options
from celerykit.config import environment, settings
from celerykit.control import remote_control
from celerykit.messages import enqueue_time

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)
if settings.POOL not in os.environ:  # a worker has logged them at its start
    for _finding in NEWER:
        logger.warning("%s", _finding)

WORKER_STEPS = (
    "celerykit.worker.liveness:Vitals",
    "celerykit.worker.shutdown:Stop",
    "celerykit.worker.timers:Timers",
    "celerykit.worker.acknowledgement:Delivery",
    "celerykit.worker.publishing:Publishing",
    "celerykit.worker.recorder:Records",
    "celerykit.worker.leases:Reservations",
    "celerykit.worker.revocations:Revocations",
    "celerykit.worker.termination:Answers",
    "celerykit.worker.waiting:Scheduled",
    "celerykit.worker.waiting:PuttingBack",
    "celerykit.worker.autoscaler:Adapting",
)

SELF = "celerykit.loader:configure"


class Loader(AppLoader):  # type: ignore[misc]
    """Celery's loader of an app, with the kit's layer; chosen by ``CELERY_LOADER=celerykit.loader:Loader``."""

    def __init__(self, app: Any, **kwargs: Any):
        super().__init__(app, **kwargs)
        # A worker has resolved its secrets already; a producer that only sets CELERY_LOADER has not.
        inherited = dict(os.environ)
        resolved = environment.read_secrets(
            environment.Environment(inherited, dict.fromkeys(inherited, environment.INHERITED))
        )
        os.environ.update({name: value for name, value in resolved.values.items() if inherited.get(name) != value})
        # Without the _FILE variable, the next app of this process and its child programs do not see a value twice.
        for name in set(inherited) - set(resolved.values):
            del os.environ[name]
        configure(app)

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> Any:
        """Return the settings of an app without any; Celery's own default app reads ``celeryconfig``."""
        if self.app.main == "default" and not self.app.set_as_current:
            return DefaultLoader(self.app).read_configuration()
        return super().read_configuration(env)

    def on_worker_init(self) -> None:
        """Apply the steps that need the app's modules: these may add settings, and set up Django."""
        merge_options(self.app)
        django_results.install(self.app)


def configure(app: Any) -> None:
    """Give ``app`` the kit's safe defaults and worker parts; the app's own settings win.

    It may be called before, during or after the configuration of the app, more than once, and before its signals exist.
    """
    app = app._get_current_object() if isinstance(app, Proxy) else app
    if getattr(app.prepare_config, "func", None) is not _prepare_config:
        # Celery calls each fixup when it makes the app, also for an unpickled one.
        app.fixups = {*app.fixups, SELF}
        app.prepare_config = functools.partial(_prepare_config, app, app.prepare_config)
        app.steps["worker"].update(step for step in WORKER_STEPS if step not in releases.left_out())
        app.steps["consumer"].update(("celerykit.worker.liveness:Consuming", "celerykit.worker.revocations:Reading"))
        enqueue_time.install()
        rabbitmq.install(app)
        remote_control.install(app)
        transports.register()
    if app._conf is None or isinstance(app._conf.maps[0], PendingConfiguration):
        _be_first(app)
    elif layer_of(app.conf) is None:
        _insert_late(app)


def _prepare_config(app: Any, prepare: Callable[[Any], Any], conf: Any) -> Any:
    """Prepare ``app`` for its settings; Celery calls this before each load of them."""
    _be_first(app)
    return prepare(conf)


def _be_first(app: Any) -> None:
    """Insert the layer as soon as there are settings.

    Lazy defaults are the first code that may read the settings, and bind tasks; receivers of signals come later. So the
    options are merged after the app's own lazy defaults, and before a receiver sends a job.
    """
    app._pending_defaults.appendleft(functools.partial(_insert_early, app))
    app._pending_defaults.append(functools.partial(_merge_early, app))


def _insert_early(app: Any) -> dict[str, Any]:
    insert_layer(app, app._conf)
    return NOTHING


def _merge_early(app: Any) -> dict[str, Any]:
    merge_options(app)
    return NOTHING


def _insert_late(app: Any) -> None:
    """Insert the layer into settings in use, and drop cached objects that were made from them."""
    insert_layer(app, app.conf)
    merge_options(app)
    binding.renew(app, set(layer_of(app.conf) or {}))
    for name in ("amqp", "control", "events"):
        vars(app).pop(name, None)
    app._pool = app._backend_cache = None
    vars(app._local).pop("backend", None)
