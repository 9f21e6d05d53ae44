"""Have the units of the kit on a host enabled, running, and with what their files say now.

A unit is what systemd calls so, a program of supervisor, or a script of sysvinit with the name of a pool behind an @.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: celery_units
short_description: Have the units of the kit enabled, running and up to date
description:
  - Enables and starts what is wanted. What is pending is restarted, and only that, one unit after the other, each when
    the one before is ready. A unit that has just been started is not restarted.
  - What is pending and wanted no more is disabled and, last, stopped, which drains a pool.
  - Without a systemd that runs, as in the build of an image, units are only enabled.
options:
  own: { description: "What the app's folders are called: celery, or celery-NAME.", type: str, default: celery }
  manager: { description: "Who starts and stops them: systemd, sysvinit or supervisor.", type: str, required: true }
  wanted: { description: "The units that are to run, the umbrella first.", type: list, elements: str, required: true }
  if_enabled: { description: Those of them that are left alone where they are not enabled., type: list, elements: str }
  unwanted: { description: Units that are not to run., type: list, elements: str }
  pending: { description: The folder that celery_files notes pending units in., type: path, required: true }
  touched: { description: "The pending units, for check mode, in which nothing is noted.", type: list, elements: str }
"""

EXAMPLES = """
- name: Have two pools run with the files that are there now
  celerykit.kit.celery_units:
    manager: systemd
    wanted: [celeryd, celeryd@default, celeryd@imports]
    unwanted: [celerybeat]
    pending: /opt/celery/pending
"""

RETURN = """
done: { description: "The verbs that were carried out, each with its unit.", type: list }
"""

RELOAD = "daemon-reload"
UMBRELLA, BEAT, FLOWER = "celeryd", "celerybeat", "celery-flower"
OWN = "celery"
ALIVE = ("STARTING", "RUNNING")
RUNNING = ("active", "reloading")
ASLEEP = ("inactive", "failed")
LINES = "15"
NOT_CONFIGURED = 6
PATIENCE = 90.0
"""Seconds that a start may take until the process does its work; systemd's units and the scripts wait as long."""


class UnitError(Exception):
    """What is wanted was refused; the message says why."""


class Answer:
    """What came of a verb."""

    def __init__(self, code: int, text: str):
        self.code = code
        self.text = text


class Systemd:
    """systemctl."""

    name = "systemctl"

    def __init__(self, root: str = "/", own: str = OWN):
        self.booted = Path(root, "run/systemd/system").is_dir()

    def is_enabled(self, unit: str) -> bool:
        """Say whether it comes up at boot."""
        return run("systemctl", "is-enabled", "--quiet", unit).code == 0

    def state(self, unit: str) -> str:
        """Return how it is, in systemd's words."""
        return self._show(unit, "ActiveState")

    def do(self, verb: str, *units: str) -> Answer:
        """Do it and wait for its end."""
        return run("systemctl", verb, *units)

    def why(self, unit: str) -> str:
        """Return what is known of a unit that does not run."""
        state = ", ".join(filter(None, [self._show(unit, name) for name in ("ActiveState", "Result", "StatusText")]))
        said = run("journalctl", "--no-pager", "--output", "cat", "--lines", LINES, "--unit", unit).text
        return f"{state}. " + (f"Its journal ends in:\n{said}" if said else f"See journalctl -u {unit}")

    def _show(self, unit: str, name: str) -> str:
        return run("systemctl", "show", "--value", f"--property={name}", unit).text


class Sysvinit:
    """The scripts, which wait until a process does its work, and say why it does not."""

    name = "service"
    booted = True

    def __init__(self, root: str = "/", own: str = OWN):
        self.root = Path(root)
        self.own = own

    def is_enabled(self, unit: str) -> bool:
        """Say whether it comes up at boot: the script does, and the pool has a file."""
        script, _, pool = unit.partition("@")
        links = list(self.root.glob(f"etc/rc2.d/S[0-9][0-9]{script}"))
        return bool(links) and (not pool or (self.root / f"etc/{self.own}/worker-{pool}.env").exists())

    def state(self, unit: str) -> str:
        """Return how it is, in systemd's words."""
        answer = self._script("status", unit)
        if answer.code == 0:
            return "active" if answer.text.endswith(", ready") else "activating"
        return "activating" if answer.code == 1 else "inactive"

    def do(self, verb: str, *units: str) -> Answer:
        """Do it, and wait for its end."""
        answers = [self._do(verb, unit) for unit in units]
        return next((answer for answer in answers if answer.code), answers[-1])

    def why(self, unit: str) -> str:
        """Return what is known of a unit that does not run."""
        return self._script("status", unit).text

    def _do(self, verb: str, unit: str) -> Answer:
        script, _, pool = unit.partition("@")
        if verb == "enable":
            run("update-rc.d", script, "defaults")
            return run("update-rc.d", script, "enable")
        if verb == "disable":
            # What keeps a pool from the next boot is that its file is gone.
            return Answer(0, "") if pool else run("update-rc.d", "-f", script, "remove")
        return self._script(verb, unit)

    def _script(self, verb: str, unit: str) -> Answer:
        script, *pool = unit.split("@")
        answer = run("service", script, verb, *pool)
        # What was never started need not be stopped.
        return Answer(0, answer.text) if (verb, answer.code) == ("stop", NOT_CONFIGURED) else answer


class Supervisor:
    """supervisorctl, and the probe: RUNNING says no more than that a process has lived for a while."""

    name = "supervisorctl"
    booted = True

    def __init__(self, root: str = "/", own: str = OWN):
        self.own = own
        self.programs = Path(root, "etc/supervisor/conf.d")
        self.logs = Path(root, "var/log", own)

    def is_enabled(self, unit: str) -> bool:
        """Say whether it comes up with supervisord."""
        return (self.programs / f"{unit}.conf").exists()

    def state(self, unit: str) -> str:
        """Return how it is, in systemd's words."""
        said = self._said(unit)
        if self._is_ready(unit, said):
            return "active"
        return "activating" if said in {*ALIVE, "BACKOFF", "STOPPING"} else "inactive"

    def do(self, verb: str, *units: str) -> Answer:
        """Do it, and wait for its end."""
        answers: list[Answer] = [getattr(self, f"_{verb}")(unit) for unit in units]
        return next((answer for answer in answers if answer.code), answers[-1])

    def why(self, unit: str) -> str:
        """Return what is known of a unit that does not run."""
        said = run("tail", "-n", LINES, str(self.logs / f"{unit}.log")).text
        return f"{run('supervisorctl', 'status', unit).text}. Its log ends in:\n{said}"

    def _enable(self, unit: str) -> Answer:
        return Answer(0, "")  # its program is there, or is not

    def _disable(self, unit: str) -> Answer:
        with contextlib.suppress(FileNotFoundError):
            (self.programs / f"{unit}.conf").unlink()
        return Answer(0, "")

    def _start(self, unit: str) -> Answer:
        run("supervisorctl", "update", unit)
        answer = run("supervisorctl", "start", unit)
        give_up = time.monotonic() + PATIENCE
        while self._said(unit) in ALIVE and time.monotonic() < give_up:
            if self.state(unit) == "active":
                return Answer(0, "")
            time.sleep(0.2)
        return Answer(1, answer.text)

    def _stop(self, unit: str) -> Answer:
        """Stop it, and forget it where its program is gone; both wait for running jobs."""
        answer = run("supervisorctl", "stop", unit)
        run("supervisorctl", "update", unit)
        return Answer(0, "") if self.state(unit) == "inactive" else answer

    def _restart(self, unit: str) -> Answer:
        run("supervisorctl", "stop", unit)
        return self._start(unit)

    def _said(self, unit: str) -> str:
        """Return how it is, in supervisor's words."""
        return [*run("supervisorctl", "status", unit).text.split(), "", ""][1]

    def _is_ready(self, unit: str, said: str) -> bool:
        if unit.startswith(FLOWER):  # which says nothing of itself
            return said == "RUNNING"
        process = ["beat"] if unit.startswith(BEAT) else ["worker", unit.partition("@")[2]]
        command = ("env", f"CELERYKIT_STATE_DIR=/run/{self.own}", f"/opt/{self.own}/venv/bin/celerykit", "probe")
        return said in ALIVE and run(*command, *process, "--ready").code == 0


if TYPE_CHECKING:
    Manager = Systemd | Sysvinit | Supervisor
MANAGERS: dict[str, type[Manager]] = {"systemd": Systemd, "sysvinit": Sysvinit, "supervisor": Supervisor}


class Units:
    """What the manager is asked to do."""

    def __init__(self, parameters: dict[str, Any], pending: Path, manager: Manager, check_mode: bool = False):
        self.parameters = parameters
        self.wanted: list[str] = parameters["wanted"]
        self.umbrella = next((unit for unit in self.wanted if unit.startswith(UMBRELLA) and not is_pool(unit)), "")
        self.pending = pending
        self.manager = manager
        self.check_mode = check_mode
        self.touched: set[str] = set()
        self.done: list[str] = []

    def converge(self, touched: set[str]) -> list[str]:
        """Do what there is to do and return it, a line each."""
        self.touched = set(touched)
        leaving = sorted({*(self.touched - {RELOAD, *self.wanted}), *filter(self._is_on, self.parameters["unwanted"])})
        self.wanted = [unit for unit in self.wanted if self._is_meant(unit)]
        self._enable()
        if self.manager.booted:
            if RELOAD in self.touched:
                self._do("daemon-reload")
                self._forget(RELOAD)
            if leaving:
                self._do("disable", *leaving)
            self._start_umbrella()
            for unit in self.wanted:
                self._take_up(unit)
            # Last, so that a queue that changes its pool has a worker at every moment.
            for unit in leaving:
                self._do("stop", unit)
                self._forget(unit)
            self._require_running()
        return self.done

    def _enable(self) -> None:
        off = [unit for unit in self.wanted if not self.manager.is_enabled(unit)]
        if off:
            self._do("enable", *off)

    def _is_meant(self, unit: str) -> bool:
        return unit not in self.parameters["if_enabled"] or self.manager.is_enabled(unit)

    def _is_on(self, unit: str) -> bool:
        return self.manager.is_enabled(unit) or self.manager.state(unit) in RUNNING

    def _start_umbrella(self) -> None:
        """Start the umbrella where it does not run, and with it all pools at once."""
        if self.umbrella in self.wanted and self.manager.state(self.umbrella) not in RUNNING:
            asleep = [unit for unit in self.wanted if self.manager.state(unit) in ASLEEP]
            self._do("start", self.umbrella)
            self._forget(*filter(is_pool, asleep))  # they have just read their files

    def _take_up(self, unit: str) -> None:
        state = self.manager.state(unit)
        if unit in self.touched and state not in ASLEEP:
            self._do("restart", unit)
        elif state not in RUNNING:
            self._do("start", unit)
        self._forget(unit)

    def _require_running(self) -> None:
        down = [] if self.check_mode else [unit for unit in self.wanted if self.manager.state(unit) not in RUNNING]
        if down:
            raise UnitError("\n".join(f"{unit} does not run: {self.manager.why(unit)}" for unit in down))

    def _do(self, verb: str, *units: str) -> None:
        self.done.append(" ".join([self.manager.name, verb, *units]))
        if self.check_mode:
            return
        answer = self.manager.do(verb, *units)
        if answer.code:
            pools = [unit for unit in self.wanted if is_pool(unit) and self.manager.state(unit) not in RUNNING]
            concerned = [*units, *(pools if self.umbrella in units else [])]
            reasons = "\n".join(f"{unit}: {self.manager.why(unit)}" for unit in concerned)
            raise UnitError(f"{self.done[-1]}: {answer.text}\n{reasons}")

    def _forget(self, *units: str) -> None:
        self.touched -= {*units}
        for unit in () if self.check_mode else units:
            with contextlib.suppress(FileNotFoundError):
                (self.pending / unit).unlink()


def is_pool(unit: str) -> bool:
    """Say whether a unit is a pool of workers."""
    return "@" in unit


def run(*command: str) -> Answer:
    """Run a command and wait for it; one that is not there has failed."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except FileNotFoundError as exc:
        return Answer(127, str(exc))
    return Answer(done.returncode, done.stdout.strip())


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "own": {"type": "str", "default": OWN},
            "manager": {"type": "str", "required": True, "choices": [*MANAGERS]},
            "wanted": {"type": "list", "elements": "str", "required": True},
            "if_enabled": {"type": "list", "elements": "str", "default": []},
            "unwanted": {"type": "list", "elements": "str", "default": []},
            "pending": {"type": "path", "required": True},
            "touched": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    pending = Path(module.params["pending"])
    noted = [path.name for path in pending.iterdir()] if pending.is_dir() else []
    manager = MANAGERS[module.params["manager"]](own=module.params["own"])
    units = Units(module.params, pending, manager, module.check_mode)
    try:
        done = units.converge({*noted, *module.params["touched"]})
    except UnitError as exc:
        module.fail_json(msg=str(exc), done=units.done)
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
