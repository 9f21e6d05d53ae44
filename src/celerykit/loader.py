"""The kit's layer of settings, inserted between an app's own and Celery's defaults."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from typing import TYPE_CHECKING, Any

from celerykit import releases

# Before anything is imported that an older release lacks: whoever asks for this module gets one line about it.
NEWER = releases.require()

from celery.app.base import PendingConfiguration
from celery.loaders.app import AppLoader
from celery.loaders.default import Loader as DefaultLoader
from celery.local import Proxy

from celerykit import binding, defaults, transports
from celerykit.control import remote_control
from celerykit.messages import enqueue_time
from celerykit.brokers import catalogue, django_results, rabbitmq, sentinel
from celerykit.config import environment, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from celerykit.sizing.model import Tuning

logger = logging.getLogger(__name__)
if settings.POOL not in os.environ:  # a worker has been told at its start
    for _finding in NEWER:
        logger.warning("%s", _finding)

WORKER_STEPS = (
    "celerykit.worker.vitals:Vitals",
    "celerykit.worker.stop:Stop",
    "celerykit.worker.timers:Timers",
    "celerykit.worker.delivery:Delivery",
    "celerykit.worker.publishing:Publishing",
    "celerykit.worker.records:Records",
    "celerykit.worker.reservations:Reservations",
    "celerykit.worker.revocations:Revocations",
    "celerykit.worker.termination:Answers",
    "celerykit.worker.waiting:Scheduled",
    "celerykit.worker.waiting:PuttingBack",
    "celerykit.worker.adapting:Adapting",
)

SELF = "celerykit.loader:configure"
NOTHING: dict[str, Any] = {}
"""What the kit's own lazy defaults give: they are there for their time."""

TOLD = ("broker_url", "result_backend")
"""What the environment says before the app does, as in Celery."""
MERGED = (
    "broker_transport_options",
    "database_engine_options",
    "redis_backend_use_ssl",
    "result_backend_transport_options",
)


class Layer(dict[str, Any]):
    """The kit's defaults as one map of ``app.conf``.

    What depends on the broker or the result backend is looked up when it is read: an app may name them late.
    """

    def __init__(self, conf: Any, own: settings.Settings, pool_class: str):
        super().__init__((item.name, item.value) for item in defaults.app_defaults(own, pool_class))
        self.update(releases.defaults())
        if own.result_backend:
            self["result_backend"] = own.result_backend
        self.own = {name: conf.get(name) for name in TOLD}
        """What the app says of what the environment wins over."""
        self._conf = conf
        self._settings = own
        self._pool_class = pool_class
        self.tuning: Tuning | None = None
        """Where some of the values come from, in a worker that was tuned."""

    def __missing__(self, name: str) -> Any:
        if name in defaults.OF_BACKEND:
            return self._of_backend(str(self._conf.result_backend))[name]
        if name not in defaults.OF_BROKER:
            raise KeyError(name)  # before the broker is asked for, whose URL is a setting, too
        url = catalogue.broker_urls(self._conf)[0]
        values = defaults.of_broker(self._settings, catalogue.scheme_of(url))
        values["broker_transport_options"] |= sentinel.options(url, self._settings)
        return values[name]

    def _of_backend(self, url: str) -> dict[str, Any]:
        servers = "rediss://" if sentinel.is_encrypted(url) else url
        values = {
            item.name: item.value for item in defaults.backend_defaults(self._settings, servers, self._pool_class)
        }
        if told := sentinel.options(url, self._settings):
            values["result_backend_transport_options"] = told
        return values


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
        # The next app of this process, and programs it starts, find the value alone and not given twice.
        for name in set(inherited) - set(resolved.values):
            del os.environ[name]
        configure(app)

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> Any:
        """Return the settings of an app that names none; Celery's own default app has them in ``celeryconfig``."""
        if self.app.main == "default" and not self.app.set_as_current:
            return DefaultLoader(self.app).read_configuration()
        return super().read_configuration(env)

    def on_worker_init(self) -> None:
        """Do what has to wait until the app's modules are imported: they may make settings, and set up Django."""
        merge_options(self.app)
        django_results.install(self.app)


def configure(app: Any) -> None:
    """Give ``app`` the kit's safe defaults and worker parts; the app's own settings win.

    May be called before, while or after the app is configured, more than once, and before the app has its signals.
    """
    app = app._get_current_object() if isinstance(app, Proxy) else app
    if getattr(app.prepare_config, "func", None) is not _prepare_config:
        # Celery calls what is named there when it makes the app, and so for one that is unpickled, too.
        app.fixups = {*app.fixups, SELF}
        app.prepare_config = functools.partial(_prepare_config, app, app.prepare_config)
        app.steps["worker"].update(step for step in WORKER_STEPS if step not in releases.left_out())
        app.steps["consumer"].update(("celerykit.worker.vitals:Consuming", "celerykit.worker.revocations:Reading"))
        enqueue_time.install()
        rabbitmq.install(app)
        remote_control.install(app)
        transports.register()
    if app._conf is None or isinstance(app._conf.maps[0], PendingConfiguration):
        _be_first(app)
    elif layer_of(app.conf) is None:
        _insert_late(app)


def insert_layer(app: Any, conf: Any) -> None:
    """Put the kit's layer just above Celery's defaults, once, and what the environment says above all."""
    if layer_of(conf) is not None:
        return
    layer = Layer(conf, settings.from_environment(os.environ), os.environ.get("CELERY_WORKER_POOL") or "prefork")
    for name in TOLD:
        # Celery looks into the environment before it makes the loader, which is when secrets have been read.
        if value := os.environ.get(f"CELERY_{name.upper()}"):
            conf.changes.update(dict.fromkeys(releases.keys(conf, name), value))
    translated = releases.by_old_names(conf)
    for maps in (conf.maps, conf.defaults):
        maps[-1:-1] = [*([translated] if translated else []), layer]
    app.on_after_configure.connect(_on_after_configure, dispatch_uid="celerykit")
    app.on_after_finalize.connect(_on_after_finalize, dispatch_uid="celerykit")


def layer_of(conf: Any) -> Layer | None:
    """Return the kit's layer of an app's configuration, if it has one."""
    return next((item for item in conf.maps if isinstance(item, Layer)), None)


def merge_options(app: Any, conf: Any = None) -> None:
    """Fill in, key by key, what an app's own options of :data:`MERGED` leave out."""
    conf = app.conf if conf is None else conf
    layer = layer_of(conf)
    if layer is None:
        return
    for name in MERGED:
        with contextlib.suppress(KeyError):  # of another result backend
            if conf[name] != layer[name]:
                filled = _filled(layer[name], conf[name] or {})
                conf.changes.update(dict.fromkeys(releases.keys(conf, name), filled))


def _filled(defaults: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return an app's own options with what they leave out, in those that are options of another program, too."""
    both = (name for name in defaults.keys() & own.keys() if isinstance(defaults[name], dict))
    return {**defaults, **own, **{name: {**defaults[name], **own[name]} for name in both}}


def _prepare_config(app: Any, prepare: Callable[[Any], Any], conf: Any) -> Any:
    """Prepare ``app`` for its settings, which Celery makes next, and each time anew when they are loaded again."""
    _be_first(app)
    return prepare(conf)


def _be_first(app: Any) -> None:
    """Have the layer inserted as soon as there are settings.

    Lazy defaults are the first that may look at them, and bind tasks; receivers of signals come later. What an app
    gives by such defaults is there before its options are merged, and that before a receiver sends a job.
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
    """Insert the layer into settings that are in use, and let what was made of them be made anew."""
    insert_layer(app, app.conf)
    merge_options(app)
    binding.renew(app, set(layer_of(app.conf) or {}))
    for name in ("amqp", "control", "events"):
        vars(app).pop(name, None)
    app._pool = app._backend_cache = None
    vars(app._local).pop("backend", None)


def _on_after_configure(sender: Any, source: Any, **_: Any) -> None:
    merge_options(sender)  # a receiver may have given some
    for maps in (source.maps, source.defaults):
        maps[:] = [item for item in maps if item is not NOTHING]


def _on_after_finalize(sender: Any, **_: Any) -> None:
    merge_options(sender)
