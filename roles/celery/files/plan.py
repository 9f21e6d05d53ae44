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
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "kit/src"))

import pack  # noqa: E402
import sources  # noqa: E402

from celerykit import brokers, envfile, environment, settings  # noqa: E402
from celerykit.errors import ConfigurationError  # noqa: E402

PHASES = ("kit", "app", "configure", "units", "pools", "beat", "flower")
ROOT = "/opt/celery"
ETC = "/etc/celery"
SYSTEMD = "/etc/systemd/system"
PROGRAMS = "/etc/supervisor/conf.d"
UMBRELLA, BEAT, FLOWER = "celeryd", "celerybeat", "celery-flower"
"""What systemd calls units, and supervisor programs; of sysvinit the scripts."""
UNITS = (UMBRELLA, "celeryd@", BEAT, FLOWER)
BOOTERS = ("systemd", "sysvinit")
"""What starts, at boot, what is enabled."""
MARGIN = 10
"""Seconds beyond its own budget after which supervisor kills a worker."""
SCHEMES = {"redis": brokers.REDIS, "rabbitmq": brokers.AMQP}
"""How the URL of a broker may begin, by its name."""
RISING_DELAY = 254
"""The release of systemd that knows what is in restart-delay.conf."""


class Plan:
    """What one host is to have, from the variables of the role."""

    def __init__(self, told: dict[str, Any]):
        self.told = told
        self.errors: list[str] = []
        self.files: list[dict[str, Any]] = []
        self.texts: dict[str, str] = {}
        self.drop_ins: dict[str, str] = {}
        self.origins: dict[str, str] = {}
        self.manager = manager_of(told)
        self.pools = self._instances()
        self.readers = [*map(unit_of, self.pools), *[BEAT] * told["beat"], *[FLOWER] * told["flower"]]
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
            {"systemd": self._lay_out_units, "sysvinit": self._lay_out_scripts, "supervisor": self._lay_out_programs}[
                self.manager
            ]()
        units = [*[UMBRELLA] * (bool(self.pools) and self.manager == "systemd"), *self.readers]
        others = [unit for unit in (*units, UMBRELLA, BEAT, FLOWER) if phase_of(unit) not in self._phases()]
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
            "candidate": self._candidate(),
            # What is not deployed by this run is judged as it is there.
            "judge": f"{kit['venv'] if 'kit' in self._phases() else f'{ROOT}/venv'}/bin/celerykit",
            "judged": app.get("path") if "app" in self._phases() else f"{ROOT}/app/current",
            "network": self._network(),
            "wheelhouse": self._wheelhouse(),
            "secret_names": envfile.SECRET_NAME.pattern,
            "secret_urls": envfile.URL_PASSWORD.pattern,
        }

    def _phases(self) -> list[str]:
        """Return the phases that the tags of this run select."""
        asked, left_out = set(self.told["tags"]), set(self.told["skip_tags"])
        if "app" in asked:
            asked.add("kit")  # a release is made with the kit that runs it
        everything = asked & {"all", "celery"}
        return [phase for phase in PHASES if (everything or phase in asked) and phase not in left_out]

    def _instances(self) -> dict[str, dict[str, Any]]:
        """Return each pool that runs, by name: several processes of a pool are pools of their own."""
        found: dict[str, dict[str, Any]] = {}
        for number, pool in enumerate(self.told["workers"]):
            name, count = str(pool["name"]), int(pool.get("processes") or 1)
            where = f"celery_workers[{number}]"
            if not environment.POOL_NAME.fullmatch(name):
                self._refuse(f"{where}.name={name}", "not letters, digits, '_' and '-'", "Name the pool so")
            if count < 1:
                self._refuse(
                    f"{where}.processes={count}", "not at least 1", "To have no such pool, take it off the list"
                )
            if pool.get("limits") and self.manager != "systemd":
                problem = f"directives of systemd, and this host has {self.manager}"
                self._refuse(f"{where}.limits", problem, "Take them out; max_memory_per_child is an option everywhere")
            for instance in [name] if count == 1 else [f"{name}-{index}" for index in range(1, count + 1)]:
                if instance in found:
                    self._refuse(f"{where}.name={name}", f"two pools are named {instance}", "Rename one of them")
                found[instance] = pool
        return found

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
        content: dict[str, Path | bytes] = dict(pack.files(HERE / "kit", sources.is_left_out))
        if self.told["kit_source"]:
            if not re.fullmatch(r"celerykit==[\w.!+-]+", self.told["kit_source"]):
                self._refuse(
                    f"celery_kit_source={self.told['kit_source']}", "not one version", "Write celerykit==VERSION"
                )
            content = {name: file for name, file in content.items() if not name.startswith("src/")}
            content["requirement.txt"] = f"{self.told['kit_source']}\n".encode()
        # A text for readers is in the package, but does not make it another one.
        telling = {name: file for name, file in content.items() if not name.endswith((".md", "LICENSE"))}
        telling["python"] = f"{self.told['python']} {self.told['python_version']}".encode()
        identity = pack.digest(telling)
        venv = f"{ROOT}/venvs/{identity}"
        return {
            "archive": str(pack.pack("kit", content)),
            "id": identity,
            "venv": venv,
            "whole": f"{venv}/celerykit.pyz",
            "python": self.told["python"],
        }

    def _app(self) -> dict[str, Any]:
        try:
            content = sources.content(self.told["app_source"])
        except sources.SourceError as exc:
            self.errors.append(str(exc))
            return {}
        archive = pack.pack("app", content)
        identity = pack.digest({"app": archive.stem.encode(), "kit": self._kit()["id"].encode()})
        return {"archive": str(archive), "release": f"release-{identity}", "path": f"{ROOT}/app/release-{identity}"}

    def _link(self, kit: dict[str, Any], app: dict[str, Any]) -> None:
        self._add("kit", f"{ROOT}/venv", link=f"venvs/{kit['id']}", needs=kit["whole"], units=self.readers)
        self._add("kit", "/usr/local/bin/celerykit", link=f"{ROOT}/venv/bin/celerykit")
        self._add("app", f"{ROOT}/app/current", link=app["release"], needs=app["path"], units=self.readers)

    def _configure(self) -> None:
        self._add("configure", ETC, mode="0750", group="celery")
        if "://" not in self.told["broker_url"]:  # not shown: it may be a password by itself
            self._refuse("celery_broker_url", "no URL", "Write it as redis://celery:PASSWORD@HOST:6379/0")
        else:
            self._judge_broker(brokers.scheme_of(self.told["broker_url"]), self.told["broker"])
        values = {"CELERY_APP": self.told["app"]}
        for name in ("broker_url", "result_backend"):
            if self.told[name]:
                values |= self._secret("configure", f"CELERY_{name.upper()}", self.told[name], self.readers)
        values["CELERYKIT_STOP_TIMEOUT"] = text_of(self.told["stop_timeout"])
        values |= {name: text_of(value) for name, value in self.told["environment"].items() if value is not None}
        self._env("configure", "celery.env", values, "celery_app or celery_environment", self.readers)

    def _judge_broker(self, scheme: str, broker: str) -> None:
        """Refuse workers on another broker than the one that is stood up."""
        if broker and scheme not in SCHEMES[broker]:
            self._refuse(
                f"celery_broker={broker}",
                f"celery_broker_url begins with {scheme}://",
                f"Begin it with {SCHEMES[broker][0]}://; for a broker of your own, take celery_broker out",
            )

    def _configure_pools(self) -> None:
        for name, pool in self.pools.items():
            where = f"the options of pool {pool['name']} in celery_workers"
            values = variables("CELERY_WORKER_", pool.get("options") or {})
            self._env("pools", f"worker-{name}.env", values, where, [unit_of(name)])
            if pool.get("limits"):
                self._drop_in(
                    "pools",
                    unit_of(name),
                    "limits",
                    pool["limits"],
                    f"the limits of pool {pool['name']} in celery_workers",
                )

    def _configure_beat(self) -> None:
        if self.told["beat"]:
            values = variables("CELERY_BEAT_", self.told["beat_options"])
            self._env("beat", "beat.env", values, "celery_beat_options", [BEAT])

    def _configure_flower(self) -> None:
        if not self.told["flower"]:
            return
        values = variables("FLOWER_", self.told["flower_options"])
        for name in [name for name in values if envfile.SECRET_NAME.search(name) and not name.endswith("_FILE")]:
            values |= self._secret("flower", name, values.pop(name), [FLOWER])
        self._env("flower", "flower.env", values, "celery_flower_options", [FLOWER])

    def _lay_out_units(self) -> None:
        """Have all units of the kit there, whichever are enabled: what is to stop needs its unit until it has."""
        for name in UNITS:
            readers = [unit for unit in self.readers if unit == name or ("@" in unit and "@" in name)]
            self._add("units", f"{SYSTEMD}/{name}.service", text=static(f"systemd/{name}.service"), units=readers)
            if name != UMBRELLA:
                path = f"{SYSTEMD}/{name}.service.d/restart-delay.conf"
                text = static("systemd/restart-delay.conf")
                self._add("units", path, text=text, units=readers, systemd=RISING_DELAY)
        self._add("units", "/etc/tmpfiles.d/celery.conf", text=static("systemd/tmpfiles.d/celery.conf"))

    def _lay_out_scripts(self) -> None:
        """Have all scripts of the kit there; celeryd is what the others call."""
        for name in (UMBRELLA, BEAT, FLOWER):
            readers = [unit for unit in self.readers if name in (UMBRELLA, unit)]
            self._add("units", f"/etc/init.d/{name}", text=static(f"init.d/{name}"), mode="0755", units=readers)

    def _lay_out_programs(self) -> None:
        """Have a program for each process that is to run, and the folders that it stands on."""
        for folder in ("/run/celery", "/var/lib/celery"):
            self._add("units", folder, mode="0775", group="celery")
        self._add("units", "/var/log/celery", mode="0755")
        self._program("folders", "units", "celery-folders", [])
        for name, pool in self.pools.items():
            wait = f"stopwaitsecs={self._budget(pool) + MARGIN}"
            changes = {"@default": f"@{name}", "worker default": f"worker {name}", "stopwaitsecs=610": wait}
            self._program("worker", "pools", unit_of(name), [unit_of(name)], changes)
        for name, phase in ((BEAT, "beat"), (FLOWER, "flower")):
            if self.told[phase]:
                self._program(phase, phase, name, [name])

    def _program(
        self, source: str, phase: str, name: str, units: list[str], changes: dict[str, str] | None = None
    ) -> None:
        text = static(f"supervisor/{source}.conf")
        for old, new in (changes or {}).items():
            text = text.replace(old, new)
        header = self.told["header"].replace("#", ";")
        self._add(phase, f"{PROGRAMS}/{name}.conf", text=header + text, units=units)

    def _budget(self, pool: dict[str, Any]) -> int:
        """Return the stop budget of a pool, wherever it is said; what is no number is refused by the check."""
        name = f"{settings.PREFIX}STOP_TIMEOUT"
        given = [(pool.get("options") or {}).get(name), self.told["environment"].get(name), self.told["stop_timeout"]]
        said = str(next(value for value in given if value is not None))
        return math.ceil(float(said)) if re.fullmatch(r"\d+(\.\d+)?", said) else 0

    def _kinds(self) -> list[str]:
        """Return what is not to be on where nothing of it runs."""
        scripts = [UMBRELLA] * (self.manager == "systemd" or not self.pools)
        return [*scripts, BEAT, FLOWER]

    def _candidate(self) -> dict[str, Any]:
        """Return what the check reads: texts that are to be in place, or none to judge what is there."""
        others = [[name] for name in ("beat", "flower") if self.told[name]]
        return {
            "folder": ETC,
            "files": self.texts if {"configure", "pools", "beat", "flower"} & {*self._phases()} else {},
            "units": self._judged_units(),
            "origins": self.origins,
            "processes": [["worker", pool] for pool in self.pools] + others,
        }

    def _judged_units(self) -> dict[str, str]:
        if self.manager != "systemd":
            return {}
        return {**{f"{name}.service": static(f"systemd/{name}.service") for name in UNITS}, **self.drop_ins}

    def _network(self) -> dict[str, str]:
        """Return what the host needs to reach a package index, and must not keep."""
        bundle = self.told["ca_bundle"]
        text = ""
        if bundle:
            try:
                text = sources.own_path(bundle).read_text(encoding="utf-8")
            except OSError as exc:
                self._refuse(
                    f"celery_ca_bundle={bundle}", f"cannot be read: {exc.strerror}", "Name a file on this machine"
                )
        wheels = self._wheelhouse()
        return {
            "ca": text,
            "index_url": self.told["index_url"],
            "wheelhouse": f"{ROOT}/incoming/{Path(wheels).name}" if wheels else "",
        }

    def _wheelhouse(self) -> str:
        if not self.told["wheelhouse"]:
            return ""
        try:
            wheels = {
                path.name: path for path in sources.own_path(self.told["wheelhouse"]).iterdir() if path.suffix == ".whl"
            }
        except OSError as exc:
            wheels, problem = {}, str(exc.strerror)
        else:
            problem = "no wheel is in it"
        if not wheels:
            self._refuse(
                f"celery_wheelhouse={self.told['wheelhouse']}", problem, "Name a folder of wheels on this machine"
            )
            return ""
        return str(pack.pack("wheels", wheels))

    def _secret(self, phase: str, name: str, value: str, units: list[str]) -> dict[str, str]:
        """Put a value into a file of its own and return the variable that names it."""
        file = name.removeprefix("CELERY_").lower().replace("_", "-")
        self.texts[file] = f"{value}\n"
        self.origins[file] = (
            f"{'celery_' if name.startswith('CELERY') else 'celery_flower_options: '}{file.replace('-', '_')}"
        )
        self._keep(phase, file, units, secret=True)
        return {f"{name}_FILE": f"{ETC}/{file}"}

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

    def _keep(self, phase: str, file: str, units: list[str], *, secret: bool) -> None:
        """Have a file that only root and celery may read, and no log where it holds a secret."""
        text = self.texts[file]
        hidden = secret or any(
            envfile.mask(*line.split("=", 1)) not in line for line in text.splitlines() if "=" in line
        )
        given = {"hidden_text" if hidden else "text": text}
        self._add(phase, f"{ETC}/{file}", **given, mode="0640", group="celery", units=units, secret=secret)

    def _drop_in(self, phase: str, unit: str, name: str, lines: dict[str, Any], where: str) -> None:
        text = f"{self.told['header']}[Service]\n"
        for key, value in lines.items():
            for one in value if isinstance(value, list) else [value]:
                said = text_of(one, yes="yes", no="no")
                if not re.fullmatch(r"[A-Za-z0-9]+", key) or "\n" in said or said.endswith("\\"):
                    self._refuse(f"{where}: {key}={said}", "no line of a unit can say this", "Write one line's worth")
                text += f"{key}={said}\n"
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


def text_of(value: Any, yes: str = "true", no: str = "false") -> str:
    """Return a value of YAML as its readers want it."""
    if isinstance(value, bool):
        return yes if value else no
    if isinstance(value, (list, tuple)):
        return ",".join(map(text_of, value))
    return str(value)


def unit_of(pool: str) -> str:
    """Return the unit of a pool."""
    return f"celeryd@{pool}"


def manager_of(told: dict[str, Any]) -> str:
    """Return what is to start, watch and stop the processes."""
    if told["service_manager"]:
        return str(told["service_manager"])
    return str(told["service_mgr"] if told["service_mgr"] in BOOTERS else "supervisor")


def phase_of(unit: str) -> str:
    """Return the phase that a unit belongs to."""
    return {BEAT: "beat", FLOWER: "flower"}.get(unit, "pools")


def static(name: str) -> str:
    """Return a file of the kit's that is the same on every host."""
    return (HERE / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    json.dump(Plan(json.load(sys.stdin)).make(), sys.stdout)
