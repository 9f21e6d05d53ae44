"""Work out on the controller what a host is to have: ``plan.py`` reads the role's variables, as JSON, from its input.

The answer is JSON, too: every file and unit, the archives to copy, what a check reads, and what is wrong with the
variables.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "kit/src"))

import layout  # noqa: E402
import network  # noqa: E402
import pack  # noqa: E402
import sources  # noqa: E402
from layout import BEAT, FLOWER, SYSTEMD, UMBRELLA, UNITS, named, phase_of, static, text_of, unit_of  # noqa: E402

from celerykit.app import system  # noqa: E402
from celerykit.app.folder import is_left_out  # noqa: E402
from celerykit.brokers import catalogue, postgresql  # noqa: E402
from celerykit.config import envfile, environment, settings  # noqa: E402
from celerykit.errors import ConfigurationError  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PHASES = ("kit", "app", "configure", "units", "pools", "beat", "flower")
BOOTERS = ("systemd", "sysvinit")
"""The programs of PID 1 that start the enabled units at boot."""
SCHEMES = {"redis": catalogue.REDIS, "rabbitmq": catalogue.AMQP, "postgresql": ("pgmq",)}
"""How the URL of a broker may begin, by its name."""
RESULTS = {"redis": catalogue.REDIS, "postgresql": ("db",)}
"""How the URL of a result backend may begin, by its name."""
AUTO = "auto"
EXTRAS = ("redis", "gevent", "flower")
"""What the images have by default, too; an app that needs more requires it itself."""


class Plan:
    """What one host is to have, from the variables of the role."""

    def __init__(self, told: dict[str, Any]):
        self.told = told
        self.errors: list[str] = []
        self.files: list[dict[str, Any]] = []
        self.texts: dict[str, str] = {}
        self.drop_ins: dict[str, str] = {}
        self.origins: dict[str, str] = {}
        self.instance = str(told["instance"])
        self.root, self.etc, self.user = (self._named(word) for word in ("/opt/celery", "/etc/celery", "celery"))
        self.umbrella, self.beat, self.flower = map(self._named, (UMBRELLA, BEAT, FLOWER))
        self.manager = manager_of(told)
        self.pools = self._instances()
        self.readers = [*map(self._unit, self.pools), *[self.beat] * told["beat"], *[self.flower] * told["flower"]]
        """What reads a file for all; not the umbrella, which would restart all pools at once."""

    def make(self) -> dict[str, Any]:
        """Return the whole plan, as far as the variables let it."""
        self._judge_host()
        kit, app = self._kit(), self._app()
        if not self.errors:
            self._link(kit, app)
            self._configure()
            self._configure_pools()
            self._configure_beat()
            self._configure_flower()
            self._lay_out()
        units = [*[self.umbrella] * (bool(self.pools) and self.manager == "systemd"), *self.readers]
        others = [
            unit for unit in (*units, self.umbrella, self.beat, self.flower) if phase_of(unit) not in self._phases()
        ]
        return {
            "errors": self.errors,
            "manager": self.manager,
            "booted": self.told["service_mgr"] in BOOTERS,
            "phases": self._phases(),
            "files": self.files,
            "units": units,
            # What this run does not deploy is neither enabled nor disabled by it, and restarted with what it reads.
            "if_enabled": [unit for unit in units if unit in others],
            "unwanted": [unit for unit in self._kinds() if unit not in [*units, *others]],
            "kit": kit,
            "app": app,
            "packages": app.get("packages", []),
            "left_out": app.get("left_out", []),
            "candidate": self._candidate(),
            # What is not deployed by this run is judged as it is there.
            "judge": f"{kit['venv'] if 'kit' in self._phases() else f'{self.root}/venv'}/bin/celerykit",
            "judged": app.get("path") if "app" in self._phases() else f"{self.root}/app/current",
            "network": self._network(),
            "wheelhouse": self._wheelhouse(),
            "secret_names": envfile.SECRET_NAME.pattern,
            "secret_urls": envfile.URL_PASSWORD.pattern,
        }

    def _named(self, name: str) -> str:
        return named(name, self.instance)

    def _unit(self, pool: str) -> str:
        return unit_of(pool, self.instance)

    def _phases(self) -> list[str]:
        """Return the phases that the tags of this run select."""
        asked, left_out = set(self.told["tags"]), set(self.told["skip_tags"])
        if "app" in asked:
            asked.add("kit")  # a release is made with the kit that runs it
        everything = asked & {"all", "celery"}
        return [phase for phase in PHASES if (everything or phase in asked) and phase not in left_out]

    def _instances(self) -> dict[str, dict[str, Any]]:
        """Return each pool that runs, by name: several replicas of a pool are pools of their own."""
        found: dict[str, dict[str, Any]] = {}
        for number, pool in enumerate(self.told["workers"]):
            name, where = str(pool["name"]), f"celery_workers[{number}]"
            if not environment.POOL_NAME.fullmatch(name):
                self._refuse(f"{where}.name={name}", "not letters, digits, '_' and '-'", "Name the pool so")
            if pool.get("limits") and self.manager != "systemd":
                problem = f"directives of systemd, and this host has {self.manager}"
                self._refuse(f"{where}.limits", problem, "Take them out; max_memory_per_child is an option everywhere")
            for instance in self._names(pool, f"{where}.replicas"):
                if instance in found:
                    self._refuse(f"{where}.name={name}", f"two pools are named {instance}", "Rename one of them")
                found[instance] = pool
        return found

    def _names(self, pool: Mapping[str, Any], where: str) -> list[str]:
        """Return the names of a pool's replicas; where the host says how many, the first keeps the pool's."""
        name, said = str(pool["name"]), str(pool.get("replicas", 1))
        if said == AUTO:
            answer = str(self.told["replicas"].get(name, ""))  # of a host without an app, nothing
            return [name, *(f"{name}-{index}" for index in range(2, int(answer if answer.isdigit() else 1) + 1))]
        if not said.isdigit() or not int(said):
            remedy = f"Write a number, or {AUTO}; to have no such pool, take it off the list"
            self._refuse(f"{where}={said}", "not at least 1", remedy)
            return []
        return [name] if said == "1" else [f"{name}-{index}" for index in range(1, int(said) + 1)]

    def _judge_host(self) -> None:
        booted = self.told["service_mgr"]
        # Supervisor runs anywhere; under systemd, which ends it with all that runs after 90 seconds, it had better not.
        if self.manager != booted and (self.manager != "supervisor" or booted == "systemd"):
            self._refuse(
                f"celery_service_manager={self.manager}",
                f"PID 1 of this host is not that, but {booted}",
                "Leave it empty, and what fits the host is taken",
            )
        if self.manager not in self.told["managers"]:
            self._refuse(
                f"celery_service_manager={self.manager}",
                "not known on this family of systems",
                f"Take a host with {' or '.join(self.told['managers'])}, or run the containers of the kit there",
            )
        manifest = (HERE / "kit/pyproject.toml").read_text(encoding="utf-8")
        oldest, end = map(int, re.findall(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', manifest)[0])
        major, minor = map(int, self.told["python_version"].split(".")[:2])
        if major != 3 or not oldest <= minor < end:
            self._refuse(
                f"ansible_python_interpreter={self.told['python']}",
                f"that is Python {self.told['python_version']}, and celerykit needs 3.{oldest} to 3.{end - 1}",
                "Install such a Python on the host and name it there",
            )

    def _kit(self) -> dict[str, Any]:
        """Return the archive of the kit and the virtualenv to make of it."""
        content: dict[str, Path | bytes] = dict(pack.files(HERE / "kit", is_left_out))
        if self.told["kit_source"]:
            if not re.fullmatch(r"celerykit==[\w.!+-]+", self.told["kit_source"]):
                self._refuse(
                    f"celery_kit_source={self.told['kit_source']}", "not one version", "Write celerykit==VERSION"
                )
            content = {name: file for name, file in content.items() if not name.startswith("src/")}
            content["requirement.txt"] = f"{self.told['kit_source']}\n".encode()
        content["extras.txt"] = "".join(f"{name}\n" for name in self._extras()).encode()
        # A text for readers is in the package, but does not make it another one.
        telling = {name: file for name, file in content.items() if not name.endswith((".md", "LICENSE"))}
        telling["python"] = f"{self.told['python']} {self.told['python_version']}".encode()
        identity = pack.digest(telling)
        venv = f"{self.root}/venvs/{identity}"
        return {
            "archive": str(pack.pack("kit", content)),
            "id": identity,
            "venv": venv,
            "whole": f"{venv}/celerykit.pyz",
            "python": self.told["python"],
        }

    def _extras(self) -> list[str]:
        """Return the optional dependencies that are installed: the client of PostgreSQL where a URL is of it."""
        on_postgresql = self.told["broker_url"].startswith("pgmq:") or postgresql.is_of(self.told["result_backend"])
        return [*EXTRAS, *["postgresql"] * on_postgresql]

    def _app(self) -> dict[str, Any]:
        try:
            content = sources.content(self.told["app_source"])
        except sources.SourceError as exc:
            self.errors.append(str(exc))
            return {}
        archive = pack.pack("app", content)
        identity = pack.digest({"app": archive.stem.encode(), "kit": self._kit()["id"].encode()})
        return {
            "archive": str(archive),
            "release": f"release-{identity}",
            "path": f"{self.root}/app/release-{identity}",
            "left_out": sources.left_out(self.told["app_source"]),
            "packages": system.listed(pack.text(content, "apt.txt")),
        }

    def _link(self, kit: dict[str, Any], app: dict[str, Any]) -> None:
        self._add("kit", f"{self.root}/venv", link=f"venvs/{kit['id']}", needs=kit["whole"], units=self.readers)
        command = f"celerykit-{self.instance}" if self.instance else "celerykit"
        self._add("kit", f"/usr/local/bin/{command}", link=f"{self.root}/venv/bin/celerykit")
        self._add("app", f"{self.root}/app/current", link=app["release"], needs=app["path"], units=self.readers)

    def _configure(self) -> None:
        self._add("configure", self.etc, mode="0750", group=self.user)
        if "://" not in self.told["broker_url"]:  # not shown: it may be a password by itself
            self._refuse("celery_broker_url", "no URL", "Write it as redis://celery:PASSWORD@HOST:6379/0")
        else:
            self._judge_kind("broker", "broker_url", SCHEMES)
        if self.told["result_backend"]:
            self._judge_kind("results", "result_backend", RESULTS)
        values = {"CELERY_APP": self.told["app"]}
        for name, prefix in (("broker_url", "CELERY_"), ("result_backend", settings.PREFIX)):
            if self.told[name]:
                values |= self._secret("configure", f"{prefix}{name.upper()}", self.told[name], self.readers)
        if authority := self._from(network.text, "tls_ca"):
            self.texts["ca.pem"], self.origins["ca.pem"] = authority, "celery_tls_ca"
            self._keep("configure", "ca.pem", [], secret=False)  # read anew at each connection
            values[settings.variable("tls_ca")] = f"{self.etc}/ca.pem"
        if own := self._from(network.text, "app_env_file"):
            self.texts["app.env"], self.origins["app.env"] = own, "celery_app_env_file"
            self._keep("configure", "app.env", self.readers, secret=True)
            values[settings.variable("app_env_file")] = f"{self.etc}/app.env"
        values["CELERYKIT_STOP_TIMEOUT"] = text_of(self.told["stop_timeout"])
        values |= {name: text_of(value) for name, value in self.told["environment"].items() if value is not None}
        self._env("configure", "celery.env", values, "celery_app or celery_environment", self.readers)

    def _judge_kind(self, name: str, url: str, schemes: Mapping[str, Sequence[str]]) -> None:
        """Refuse workers on another broker, or result backend, than the one that is stood up."""
        kind, scheme = self.told[name], catalogue.scheme_of(self.told[url])
        if kind and scheme not in schemes[kind]:
            first = "db+postgresql+psycopg" if schemes[kind][0] == "db" else schemes[kind][0]
            self._refuse(
                f"celery_{name}={kind}",
                f"celery_{url} begins with {scheme}://",
                f"Begin it with {first}://; for one of your own, take celery_{name} out",
            )

    def _configure_pools(self) -> None:
        for name, pool in self.pools.items():
            where = f"the options of pool {pool['name']} in celery_workers"
            values = variables("CELERY_WORKER_", pool.get("options") or {})
            first = str(pool["name"])
            if first in self.pools and name != first:
                self._link_env(environment.env_file(name), environment.env_file(first), self._unit(name))
            else:
                readers = [other for other, its in self.pools.items() if its is pool] if name == first else [name]
                self._env("pools", environment.env_file(name), values, where, [*map(self._unit, readers)])
            if pool.get("limits"):
                self._drop_in(
                    "pools",
                    self._unit(name),
                    "limits",
                    pool["limits"],
                    f"the limits of pool {pool['name']} in celery_workers",
                )

    def _configure_beat(self) -> None:
        if self.told["beat"]:
            values = variables("CELERY_BEAT_", self.told["beat_options"])
            self._env("beat", "beat.env", values, "celery_beat_options", [self.beat])

    def _configure_flower(self) -> None:
        if not self.told["flower"]:
            return
        values = variables("FLOWER_", self.told["flower_options"])
        for name in [name for name in values if envfile.SECRET_NAME.search(name) and not name.endswith("_FILE")]:
            values |= self._secret("flower", name, values.pop(name), [self.flower])
        self._env("flower", "flower.env", values, "celery_flower_options", [self.flower])

    def _lay_out(self) -> None:
        """Have the files of the service manager."""
        readers, told = self.readers, self.told
        if self.manager == "systemd":
            self.files += layout.units(readers, self.instance)
        elif self.manager == "sysvinit":
            self.files += layout.scripts(readers, self.instance)
        else:
            budgets = {name: self._budget(pool) for name, pool in self.pools.items()}
            others = [name for name in ("beat", "flower") if told[name]]
            self.files += layout.programs(told["header"], budgets, others, self.instance)

    def _budget(self, pool: dict[str, Any]) -> int:
        """Return the stop budget of a pool, wherever it is said; what is no number is refused by the check."""
        name = f"{settings.PREFIX}STOP_TIMEOUT"
        given = [(pool.get("options") or {}).get(name), self.told["environment"].get(name), self.told["stop_timeout"]]
        said = str(next(value for value in given if value is not None))
        return math.ceil(float(said)) if re.fullmatch(r"\d+(\.\d+)?", said) else 0

    def _kinds(self) -> list[str]:
        """Return what is not to be on where nothing of it runs."""
        scripts = [self.umbrella] * (self.manager == "systemd" or not self.pools)
        return [*scripts, self.beat, self.flower]

    def _candidate(self) -> dict[str, Any]:
        """Return what the check reads: texts that are to be in place, or none to judge what is there."""
        others = [[name] for name in ("beat", "flower") if self.told[name]]
        return {
            "folder": self.etc,
            "files": self.texts if {"configure", "pools", "beat", "flower"} & {*self._phases()} else {},
            "units": self._judged_units(),
            "origins": self.origins,
            "processes": [["worker", pool] for pool in self.pools] + others,
        }

    def _judged_units(self) -> dict[str, str]:
        if self.manager != "systemd":
            return {}
        units = {f"{self._named(name)}.service": static(f"systemd/{name}.service", self.instance) for name in UNITS}
        return {**units, **self.drop_ins}

    def _network(self) -> dict[str, str]:
        """Return what the host needs to reach a package index, and must not keep."""
        wheels = self._wheelhouse()
        return {
            "ca": self._from(network.text, "ca_bundle"),
            "index_url": self.told["index_url"],
            "wheelhouse": f"{self.root}/incoming/{Path(wheels).name}" if wheels else "",
        }

    def _wheelhouse(self) -> str:
        return self._from(network.wheelhouse, "wheelhouse")

    def _from(self, read: Callable[..., str], name: str) -> str:
        """Return what a variable that names something of the controller's stands for, if it is set."""
        try:
            return read(self.told[name], f"celery_{name}") if self.told[name] else ""
        except sources.SourceError as exc:
            self.errors.append(str(exc))
            return ""

    def _secret(self, phase: str, name: str, value: str, units: list[str]) -> dict[str, str]:
        """Put a value into a file of its own and return the variable that names it."""
        file = name.removeprefix("CELERY_").removeprefix(settings.PREFIX).lower().replace("_", "-")
        self.texts[file] = f"{value}\n"
        self.origins[file] = (
            f"{'celery_' if name.startswith('CELERY') else 'celery_flower_options: '}{file.replace('-', '_')}"
        )
        self._keep(phase, file, units, secret=True)
        return {f"{name}_FILE": f"{self.etc}/{file}"}

    def _env(self, phase: str, file: str, values: dict[str, str], where: str, units: list[str]) -> None:
        try:
            text = self.told["header"] + envfile.render(values)
        except ConfigurationError as exc:
            for finding in exc.findings:
                shown = f"{finding.variable}={finding.value}"
                self._refuse(f"{where}: {shown}", finding.problem, finding.remedy)
            return
        self.texts[file], self.origins[file] = text, where
        self._keep(phase, file, units, secret=False)

    def _link_env(self, file: str, target: str, unit: str) -> None:
        """Have a process share the file of the first one of its pool, which is how they are known to be one pool."""
        if target in self.texts:  # and was not refused
            self.texts[file], self.origins[file] = self.texts[target], self.origins[target]
            self._add("pools", f"{self.etc}/{file}", link=target, units=[unit])

    def _keep(self, phase: str, file: str, units: list[str], *, secret: bool) -> None:
        """Have a file that only root and celery may read, and no log where it holds a secret."""
        text = self.texts[file]
        hidden = secret or any(
            envfile.mask(*line.split("=", 1)) not in line for line in text.splitlines() if "=" in line
        )
        given = {"hidden_text" if hidden else "text": text}
        self._add(phase, f"{self.etc}/{file}", **given, mode="0640", group=self.user, units=units, secret=secret)

    def _drop_in(self, phase: str, unit: str, name: str, lines: dict[str, Any], where: str) -> None:
        try:
            text = self.told["header"] + layout.section(lines)
        except ValueError as exc:
            self._refuse(f"{where}: {exc}", "no line of a unit can say this", "Write one line's worth")
            return
        file = f"{unit}.service.d/{name}.conf"
        self.drop_ins[file], self.origins[file] = text, where
        self._add(phase, f"{SYSTEMD}/{file}", text=text, units=[unit])

    def _add(self, phase: str, path: str, **entry: Any) -> None:
        self.files.append({"phase": phase, "path": path, **entry})

    def _refuse(self, what: str, problem: str, remedy: str) -> None:
        self.errors.append(f"{what}: {problem}. {remedy}{'' if remedy.endswith('?') else '.'}")


def variables(prefix: str, options: dict[str, Any]) -> dict[str, str]:
    """Return options as variables: ``prefetch-multiplier`` with its prefix, a name in capitals as it is."""
    named = {name if name.isupper() else prefix + name.replace("-", "_").upper(): options[name] for name in options}
    return {name: text_of(value) for name, value in named.items() if value is not None}


def manager_of(told: dict[str, Any]) -> str:
    """Return what is to start, watch and stop the processes."""
    if told["service_manager"]:
        return str(told["service_manager"])
    return str(told["service_mgr"] if told["service_mgr"] in BOOTERS else "supervisor")


if __name__ == "__main__":
    json.dump(Plan(json.load(sys.stdin)).make(), sys.stdout)
