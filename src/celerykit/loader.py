"""The kit's layer of settings, inserted between an app's own and Celery's defaults."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from celery.loaders.app import AppLoader

from celerykit import brokers, defaults, environment, rabbitmq, settings, transports

WORKER_STEPS = (
    "celerykit.worker.vitals:Vitals",
    "celerykit.worker.stop:Stop",
    "celerykit.worker.delivery:Delivery",
    "celerykit.worker.reservations:Reservations",
)

MERGED = ("broker_transport_options", "redis_backend_use_ssl")


class Layer(dict[str, Any]):
    """The kit's defaults as one map of ``app.conf``.

    What depends on the broker or the result backend is looked up when it is read: an app may name them late.
    """

    def __init__(self, conf: Any, own: settings.Settings, pool_class: str):
        super().__init__((item.name, item.value) for item in defaults.app_defaults(own, pool_class))
        self._conf = conf
        self._settings = own

    def __missing__(self, name: str) -> Any:
        if name in defaults.OF_BACKEND:
            items = defaults.backend_defaults(self._settings, brokers.scheme_of(str(self._conf.result_backend)))
            return {item.name: item.value for item in items}[name]
        if name not in defaults.OF_BROKER:
            raise KeyError(name)  # before the broker is asked for, whose URL is a setting, too
        scheme = brokers.scheme_of(brokers.broker_urls(self._conf)[0])
        return defaults.of_broker(self._settings, scheme)[name]


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

    @property
    def conf(self) -> Any:
        """The app's configuration; the first look at it is when the app has its signals, under Django too."""
        configure(self.app)
        return super().conf

    def on_worker_init(self) -> None:
        """Merge once more, for settings that the app's modules made while they were imported."""
        merge_options(self.app)


def configure(app: Any) -> None:
    """Give ``app`` the kit's safe defaults and worker parts; the app's own settings win.

    May be called before or after the app is configured, and more than once.
    """
    app.on_after_configure.connect(_on_after_configure, dispatch_uid="celerykit")
    app.on_after_finalize.connect(_on_after_finalize, dispatch_uid="celerykit")
    app.steps["worker"].update(WORKER_STEPS)
    app.steps["consumer"].add("celerykit.worker.vitals:Consuming")
    rabbitmq.install(app)
    transports.register()
    if app.configured:
        insert_layer(app, app.conf)


def insert_layer(app: Any, conf: Any) -> None:
    """Put the kit's layer just above Celery's defaults, once."""
    if any(isinstance(layer, Layer) for layer in conf.maps):
        return
    layer = Layer(conf, settings.from_environment(os.environ), os.environ.get("CELERY_WORKER_POOL") or "prefork")
    for maps in (conf.maps, conf.defaults):
        maps.insert(len(maps) - 1, layer)
    merge_options(app, conf)


def merge_options(app: Any, conf: Any = None) -> None:
    """Fill in, key by key, what an app's own options of :data:`MERGED` leave out."""
    conf = app.conf if conf is None else conf
    layer = next((item for item in conf.maps if isinstance(item, Layer)), None)
    if layer is None:
        return
    for name in MERGED:
        with contextlib.suppress(KeyError):  # of another result backend
            if conf[name] != layer[name]:
                conf.changes[name] = {**layer[name], **(conf[name] or {})}


def _on_after_configure(sender: Any, source: Any, **_: Any) -> None:
    for name in ("broker_url", "result_backend"):
        # Celery looks into the environment before it makes the loader, which is when secrets have been read.
        if value := os.environ.get(f"CELERY_{name.upper()}"):
            source.changes[name] = value
    insert_layer(sender, source)


def _on_after_finalize(sender: Any, **_: Any) -> None:
    merge_options(sender)
