"""Have the units of the kit on a host enabled, running, and with what their files say now."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

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
  wanted: { description: "The units that are to run, the umbrella first.", type: list, elements: str, required: true }
  if_enabled: { description: Those of them that are left alone where they are not enabled., type: list, elements: str }
  unwanted: { description: Units that are not to run., type: list, elements: str }
  pending: { description: The folder that celery_files notes pending units in., type: path, required: true }
  touched: { description: "The pending units, for check mode, in which nothing is noted.", type: list, elements: str }
"""

RELOAD = "daemon-reload"
UMBRELLA = "celeryd.service"
BOOTED = Path("/run/systemd/system")
RUNNING = ("active", "reloading")
ASLEEP = ("inactive", "failed")
LINES = "15"


class UnitError(Exception):
    """systemd refused; the message says why."""


class Units:
    """What systemd is asked to do."""

    def __init__(self, parameters, pending, ask, booted=True, check_mode=False):
        self.parameters = parameters
        self.wanted = parameters["wanted"]
        self.pending = pending
        self.ask = ask
        self.booted = booted
        self.check_mode = check_mode
        self.touched = set()
        self.done = []

    def converge(self, touched: set) -> list:
        """Do what there is to do and return it, a line each."""
        self.touched = set(touched)
        leaving = sorted({*(self.touched - {RELOAD, *self.wanted}), *filter(self._is_on, self.parameters["unwanted"])})
        self.wanted = [unit for unit in self.wanted if self._is_meant(unit)]
        self._enable()
        if self.booted:
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
        off = [unit for unit in self.wanted if not self._is_enabled(unit)]
        if off:
            self._do("enable", *off)

    def _is_enabled(self, unit: str) -> bool:
        return self.ask("is-enabled", "--quiet", unit).returncode == 0

    def _is_meant(self, unit: str) -> bool:
        return unit not in self.parameters["if_enabled"] or self._is_enabled(unit)

    def _is_on(self, unit: str) -> bool:
        return self._is_enabled(unit) or self._state(unit) in RUNNING

    def _start_umbrella(self) -> None:
        """Start the umbrella where it does not run, and with it all pools at once."""
        if UMBRELLA in self.wanted and self._state(UMBRELLA) not in RUNNING:
            asleep = [unit for unit in self.wanted if self._state(unit) in ASLEEP]
            self._do("start", UMBRELLA)
            self._forget(*filter(is_pool, asleep))  # they have just read their files

    def _take_up(self, unit: str) -> None:
        state = self._state(unit)
        if unit in self.touched and state not in ASLEEP:
            self._do("restart", unit)
        elif state not in RUNNING:
            self._do("start", unit)
        self._forget(unit)

    def _require_running(self) -> None:
        down = [] if self.check_mode else [unit for unit in self.wanted if self._state(unit) not in RUNNING]
        if down:
            raise UnitError("\n".join(f"{unit} does not run: {self._why(unit)}" for unit in down))

    def _state(self, unit: str) -> str:
        return self._show(unit, "ActiveState")

    def _show(self, unit: str, name: str) -> str:
        return self.ask("show", "--value", f"--property={name}", unit).stdout.strip()

    def _why(self, unit: str) -> str:
        state = ", ".join(filter(None, [self._show(unit, name) for name in ("ActiveState", "Result", "StatusText")]))
        return f"{state}. {journal(unit)}"

    def _do(self, verb: str, *arguments: str) -> None:
        self.done.append(" ".join(["systemctl", verb, *arguments]))
        if self.check_mode:
            return
        answer = self.ask(verb, *arguments)
        if answer.returncode:
            units = [unit for unit in arguments if unit.endswith(".service")]
            if UMBRELLA in units:
                units += [unit for unit in self.wanted if is_pool(unit) and self._state(unit) not in RUNNING]
            reasons = "\n".join(f"{unit}: {self._why(unit)}" for unit in units)
            raise UnitError(f"{self.done[-1]}: {answer.stderr.strip()}\n{reasons}")

    def _forget(self, *units: str) -> None:
        self.touched -= {*units}
        for unit in () if self.check_mode else units:
            with contextlib.suppress(FileNotFoundError):
                (self.pending / unit).unlink()


def is_pool(unit: str) -> bool:
    """Say whether a unit is a pool of workers."""
    return unit.startswith("celeryd@")


def systemctl(*arguments):
    """Run systemctl and wait for it."""
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)


def journal(unit: str) -> str:
    """Return the last that a unit has said."""
    command = ["journalctl", "--no-pager", "--output", "cat", "--lines", LINES, "--unit", unit]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return f"Its journal ends in:\n{said}" if said else f"See journalctl -u {unit}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
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
    units = Units(module.params, pending, systemctl, BOOTED.is_dir(), module.check_mode)
    try:
        done = units.converge({*noted, *module.params["touched"]})
    except UnitError as exc:
        module.fail_json(msg=str(exc), done=units.done)
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
