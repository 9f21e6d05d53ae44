"""The env files of a host: one for all its processes, and one for each pool, beat and Flower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celerykit.brokers import catalogue
from celerykit.config import envfile, environment, settings
from celerykit.deploy import controller
from celerykit.deploy.rendering import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celerykit.deploy.files import Files
    from celerykit.deploy.names import Names
    from celerykit.deploy.refusals import Refusals
    from celerykit.deploy.variables import Pool, Variables

SCHEMES = {"redis": catalogue.REDIS, "rabbitmq": catalogue.AMQP, "postgresql": ("pgmq",)}
"""How the URL of a broker may begin, by its name."""
RESULTS = {"redis": catalogue.REDIS, "postgresql": ("db",)}
"""How the URL of a result backend may begin, by its name."""


class Configuration:
    """The env files, secrets and drop-ins that follow from the variables."""

    def __init__(self, values: Variables, names: Names, files: Files, refusals: Refusals):
        self.values = values
        self.names = names
        self.files = files
        self.refusals = refusals

    def add(self, pools: Mapping[str, Pool], readers: Sequence[str]) -> None:
        """Add the files of all processes.

        :param readers: the units that read the file for all.
        """
        self.files.add("configure", self.names.etc, mode="0750", group=self.names.user)
        self._judge_urls()
        self._add_shared(readers)
        for name in pools:
            self._add_pool(name, pools)
        if self.values["beat"]:
            self._add_beat()
        if self.values["flower"]:
            self._add_flower()

    def _judge_urls(self) -> None:
        if "://" not in self.values["broker_url"]:  # not shown: it may be a password by itself
            self.refusals.add("celery_broker_url", "no URL", "Write it as redis://celery:PASSWORD@HOST:6379/0")
        else:
            self._judge_scheme("broker", self.values["broker"], "broker_url", self.values["broker_url"], SCHEMES)
        if url := self.values["result_backend"]:
            self._judge_scheme("results", self.values["results"], "result_backend", url, RESULTS)

    def _judge_scheme(
        self, role: str, kind: str, variable: str, url: str, schemes: Mapping[str, Sequence[str]]
    ) -> None:
        """Refuse workers on another broker, or result backend, than the one that is stood up."""
        scheme = catalogue.scheme_of(url)
        if kind and scheme not in schemes[kind]:
            first = "db+postgresql+psycopg" if schemes[kind][0] == "db" else schemes[kind][0]
            self.refusals.add(
                f"celery_{role}={kind}",
                f"celery_{variable} begins with {scheme}://",
                f"Begin it with {first}://; for one of your own, take celery_{role} out",
            )

    def _add_shared(self, readers: Sequence[str]) -> None:
        values, files = self.values, self.files
        shared = {"CELERY_APP": values["app"]}
        urls = (("CELERY_BROKER_URL", values["broker_url"]), ("CELERYKIT_RESULT_BACKEND", values["result_backend"]))
        for variable, url in urls:
            if url:
                shared |= files.secret("configure", variable, url, readers)
        if authority := controller.text(values["tls_ca"], "celery_tls_ca", self.refusals):
            # Read anew at each connection, so that no unit restarts.
            path = files.keep("configure", "ca.pem", authority, "celery_tls_ca", [], secret=False)
            shared[settings.variable("tls_ca")] = path
        if own := controller.text(values["app_env_file"], "celery_app_env_file", self.refusals):
            path = files.keep("configure", "app.env", own, "celery_app_env_file", readers, secret=True)
            shared[settings.variable("app_env_file")] = path
        shared[settings.variable("stop_timeout")] = text_of(values["stop_timeout"])
        shared |= {name: text_of(value) for name, value in values["environment"].items() if value is not None}
        files.env("configure", "celery.env", shared, "celery_app or celery_environment", readers)

    def _add_pool(self, name: str, pools: Mapping[str, Pool]) -> None:
        pool = pools[name]
        first, unit = str(pool["name"]), self.names.unit(name)
        origin = f"the options of pool {first} in celery_workers"
        if first in pools and name != first:
            self.files.link_env("pools", environment.env_file(name), environment.env_file(first), unit)
        else:
            sharing = [other for other in pools if pools[other] is pool] if name == first else [name]
            values = variables("CELERY_WORKER_", pool.get("options") or {})
            self.files.env("pools", environment.env_file(name), values, origin, [*map(self.names.unit, sharing)])
        if limits := pool.get("limits"):
            self.files.drop_in("pools", unit, "limits", limits, f"the limits of pool {first} in celery_workers")

    def _add_beat(self) -> None:
        values = variables("CELERY_BEAT_", self.values["beat_options"])
        self.files.env("beat", "beat.env", values, "celery_beat_options", [self.names.beat])

    def _add_flower(self) -> None:
        unit = self.names.flower
        values = variables("FLOWER_", self.values["flower_options"])
        for name in [name for name in values if envfile.SECRET_NAME.search(name) and not name.endswith("_FILE")]:
            values |= self.files.secret("flower", name, values.pop(name), [unit])
        self.files.env("flower", "flower.env", values, "celery_flower_options", [unit])


def variables(prefix: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Return options as variables: ``prefetch-multiplier`` with its prefix, a name in capitals as it is."""
    named = {name if name.isupper() else prefix + name.replace("-", "_").upper(): options[name] for name in options}
    return {name: text_of(value) for name, value in named.items() if value is not None}
