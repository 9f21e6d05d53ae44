"""The kit's layer of settings: below an app's own settings, above Celery's defaults."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from celerykit.brokers import catalogue, sentinel
from celerykit.celery_app import defaults
from celerykit.compat import app_settings
from celerykit.config import settings

if TYPE_CHECKING:
    from celerykit.sizing.model import Tuning

NOTHING: dict[str, Any] = {}
"""The placeholder for the kit's lazy defaults, until the app is configured."""
ENVIRONMENT_FIRST = ("broker_url", "result_backend")
"""The settings whose environment variable overrides the app's value, as in Celery."""
MERGED = (
    "broker_transport_options",
    "database_engine_options",
    "redis_backend_use_ssl",
    "result_backend_transport_options",
)


class Layer(dict[str, Any]):
    """The kit's defaults as one map of ``app.conf``.

    Values that depend on the broker or the result backend are computed at each read: an app may name them late.
    """

    def __init__(self, conf: Any, config: settings.Settings, pool_class: str):
        super().__init__((item.name, item.value) for item in defaults.app_defaults(config, pool_class))
        self.update(app_settings.defaults())
        if config.result_backend:
            self["result_backend"] = config.result_backend
        self.of_app = {name: conf.get(name) for name in ENVIRONMENT_FIRST}
        """The app's own values of the settings that the environment overrides."""
        self._conf = conf
        self._settings = config
        self._pool_class = pool_class
        self.tuning: Tuning | None = None
        """The origin of tuned values, None in a worker that was not tuned."""

    def __missing__(self, name: str) -> Any:
        if name in defaults.OF_BACKEND:
            return self._of_backend(str(self._conf.result_backend))[name]
        if name not in defaults.OF_BROKER:
            raise KeyError(name)  # before the broker's URL is read, because that is a setting, too
        url = catalogue.broker_urls(self._conf)[0]
        values = defaults.of_broker(self._settings, catalogue.scheme_of(url))
        values["broker_transport_options"] |= sentinel.options(url, self._settings)
        return values[name]

    def _of_backend(self, url: str) -> dict[str, Any]:
        servers = "rediss://" if sentinel.is_encrypted(url) else url
        values = {
            item.name: item.value for item in defaults.backend_defaults(self._settings, servers, self._pool_class)
        }
        if options := sentinel.options(url, self._settings):
            values["result_backend_transport_options"] = options
        return values


def insert_layer(app: Any, conf: Any) -> None:
    """Insert the kit's layer just above Celery's defaults, once, and the environment's values above all."""
    if layer_of(conf) is not None:
        return
    layer = Layer(conf, settings.from_environment(os.environ), os.environ.get("CELERY_WORKER_POOL") or "prefork")
    for name in ENVIRONMENT_FIRST:
        # Celery reads the environment before it makes the loader, and only the loader reads secrets from files.
        if value := os.environ.get(f"CELERY_{name.upper()}"):
            conf.changes.update(dict.fromkeys(app_settings.keys(conf, name), value))
    translated = app_settings.by_old_names(conf)
    for maps in (conf.maps, conf.defaults):
        maps[-1:-1] = [*([translated] if translated else []), layer]
    app.on_after_configure.connect(_on_after_configure, dispatch_uid="celerykit")
    app.on_after_finalize.connect(_on_after_finalize, dispatch_uid="celerykit")


def layer_of(conf: Any) -> Layer | None:
    """Return the kit's layer of an app's configuration, if it has one."""
    return next((item for item in conf.maps if isinstance(item, Layer)), None)


def merge_options(app: Any, conf: Any = None) -> None:
    """Add the kit's missing keys to each of the app's own option maps in :data:`MERGED`."""
    conf = app.conf if conf is None else conf
    layer = layer_of(conf)
    if layer is None:
        return
    for name in MERGED:
        with contextlib.suppress(KeyError):  # of another result backend
            if conf[name] != layer[name]:
                filled = _filled(layer[name], conf[name] or {})
                conf.changes.update(dict.fromkeys(app_settings.keys(conf, name), filled))


def _filled(defaults: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return an app's own options with the kit's missing keys, one level deep in nested maps, too."""
    both = (name for name in defaults.keys() & options.keys() if isinstance(defaults[name], dict))
    return {**defaults, **options, **{name: {**defaults[name], **options[name]} for name in both}}


def _on_after_configure(sender: Any, source: Any, **_: Any) -> None:
    merge_options(sender)  # a receiver of the signal may have set some
    for maps in (source.maps, source.defaults):
        maps[:] = [item for item in maps if item is not NOTHING]


def _on_after_finalize(sender: Any, **_: Any) -> None:
    merge_options(sender)
