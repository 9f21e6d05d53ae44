"""The plan of a host: every file and unit, the archives to copy, and the input of the check before a change."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celerykit.config import envfile, settings
from celerykit.deploy import controller, kit, machine, pools, release
from celerykit.deploy.configuration import Configuration
from celerykit.deploy.files import Files
from celerykit.deploy.layout import Layout
from celerykit.deploy.names import Names, phase_of
from celerykit.deploy.refusals import Refusals
from celerykit.deploy.sources import SourceError

if TYPE_CHECKING:
    from celerykit.deploy.kit import Kit
    from celerykit.deploy.release import Release
    from celerykit.deploy.variables import Pool, Variables

PHASES = ("kit", "app", "configure", "units", "pools", "beat", "flower")


def make(values: Variables) -> dict[str, Any]:
    """Return the plan of a host, or ``errors`` alone where the variables allow none."""
    refusals = Refusals()
    plan = Plan(values, refusals)
    whole = plan.make()
    return {"errors": refusals.texts, **({} if refusals.texts else whole)}


class Plan:
    """The plan that follows from the variables of the role."""

    def __init__(self, values: Variables, refusals: Refusals):
        self.values = values
        self.refusals = refusals
        self.names = Names(str(values["instance"]))
        self.manager = machine.manager_of(values)
        self.layout = Layout(values["files"], self.names)
        self.files = Files(self.names, values["header"], refusals)
        self.phases = phases(values)
        self.pools = pools.replicas(values, self.manager, refusals)
        self.kinds = [kind for kind, runs in (("beat", values["beat"]), ("flower", values["flower"])) if runs]
        others = {"beat": self.names.beat, "flower": self.names.flower}
        self.readers = [*map(self.names.unit, self.pools), *(others[kind] for kind in self.kinds)]
        """The units that read a file for all; not the umbrella, which would restart all pools at once."""

    def make(self) -> dict[str, Any]:
        """Return the whole plan, or nothing once a variable is refused."""
        machine.judge(self.values, self.refusals)
        deployed = kit.make(self.values, self.names.root, self.refusals)
        wheels = controller.wheelhouse(self.values["wheelhouse"], "celery_wheelhouse", self.refusals)
        authority = controller.text(self.values["ca_bundle"], "celery_ca_bundle", self.refusals)
        try:
            app = release.make(self.values, self.names.root, deployed["id"])
        except SourceError as exc:
            self.refusals.texts.append(str(exc))
        if self.refusals.texts:
            return {}
        self._link(deployed, app)
        Configuration(self.values, self.names, self.files, self.refusals).add(self.pools, self.readers)
        self._lay_out()
        return {
            "manager": self.manager,
            "booted": self.values["service_mgr"] in machine.BOOTERS,
            "phases": self.phases,
            "files": self.files.entries,
            **self._units(),
            "kit": deployed,
            "app": app,
            "candidate": self._candidate(),
            **self._judged(deployed, app),
            "network": self._network(authority, wheels),
            "wheelhouse": wheels,
            "secret_names": envfile.SECRET_NAME.pattern,
            "secret_urls": envfile.URL_PASSWORD.pattern,
        }

    def _link(self, deployed: Kit, app: Release) -> None:
        """Have the links that choose the kit and the release that run."""
        root, readers = self.names.root, self.readers
        link = f"venvs/{deployed['id']}"
        self.files.add("kit", f"{root}/venv", link=link, needs=deployed["whole"], units=readers)
        command = f"celerykit-{self.names.instance}" if self.names.instance else "celerykit"
        self.files.add("kit", f"/usr/local/bin/{command}", link=f"{root}/venv/bin/celerykit")
        self.files.add("app", f"{root}/app/current", link=app["release"], needs=app["path"], units=readers)

    def _lay_out(self) -> None:
        """Have the files of the service manager."""
        if self.manager == "systemd":
            self.files.extend(self.layout.units(self.readers))
        elif self.manager == "sysvinit":
            self.files.extend(self.layout.scripts(self.readers))
        else:
            budgets = {name: self._budget(pool) for name, pool in self.pools.items()}
            self.files.extend(self.layout.programs(self.values["header"], budgets, self.kinds))

    def _budget(self, pool: Pool) -> int:
        """Return the stop budget of a pool in seconds. The check refuses a value that is no number."""
        name = settings.variable("stop_timeout")
        given = [
            (pool.get("options") or {}).get(name),
            self.values["environment"].get(name),
            self.values["stop_timeout"],
        ]
        budget = str(next(value for value in given if value is not None))
        return math.ceil(float(budget)) if re.fullmatch(r"\d+(\.\d+)?", budget) else 0

    def _units(self) -> dict[str, list[str]]:
        """Return the units that are to run, and those that are not."""
        names, on_systemd = self.names, self.manager == "systemd"
        units = [*([names.umbrella] if self.pools and on_systemd else []), *self.readers]
        # A run of some phases enables and disables no unit of another phase. It restarts one whose files it changes.
        others = [
            unit for unit in (*units, names.umbrella, names.beat, names.flower) if phase_of(unit) not in self.phases
        ]
        known = [*([names.umbrella] if on_systemd or not self.pools else []), names.beat, names.flower]
        return {
            "units": units,
            "if_enabled": [unit for unit in units if unit in others],
            "unwanted": [unit for unit in known if unit not in (*units, *others)],
        }

    def _candidate(self) -> dict[str, Any]:
        """Return the input of the check: texts that are to be in place, or none to judge those that are."""
        configures = {"configure", "pools", "beat", "flower"} & {*self.phases}
        on_systemd = self.manager == "systemd"
        return {
            "folder": self.names.etc,
            "files": self.files.texts if configures else {},
            "units": {**self.layout.unit_texts(), **self.files.drop_ins} if on_systemd else {},
            "origins": self.files.origins,
            "processes": [*(["worker", pool] for pool in self.pools), *([kind] for kind in self.kinds)],
        }

    def _judged(self, deployed: Kit, app: Release) -> dict[str, str]:
        """Return the program and the folder of the check; of a phase that is left out, those that run."""
        root = self.names.root
        venv = deployed["venv"] if "kit" in self.phases else f"{root}/venv"
        return {
            "judge": f"{venv}/bin/celerykit",
            "judged": app["path"] if "app" in self.phases else f"{root}/app/current",
        }

    def _network(self, authority: str, wheels: str) -> dict[str, str]:
        """Return what the installation needs to reach a package index, and the host must not keep."""
        wheelhouse = f"{self.names.root}/incoming/{Path(wheels).name}" if wheels else ""
        return {"ca": authority, "index_url": self.values["index_url"], "wheelhouse": wheelhouse}


def phases(values: Variables) -> list[str]:
    """Return the phases that the tags of a playbook's run select."""
    asked, left_out = set(values["tags"]), set(values["skip_tags"])
    if "app" in asked:
        asked.add("kit")  # a release is made with the kit that runs it
    everything = asked & {"all", "celery"}
    return [phase for phase in PHASES if (everything or phase in asked) and phase not in left_out]
