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
  - Enables and starts what is wanted. What is pending is restarted, and only that; all pools by their umbrella, which
    restarts one after the other. A unit that has just been started is not restarted.
  - What is pending and wanted no more is disabled and stopped, which drains a pool.
  - Without a systemd that runs, as in the build of an image, units are only enabled.
options:
  wanted: { description: "The units that are to run, the umbrella first.", type: list, elements: str, required: true }
  pending: { description: The folder that celery_files notes pending units in., type: path, required: true }
  touched: { description: "The pending units, for check mode, in which nothing is noted.", type: list, elements: str }
"""

RELOAD = "daemon-reload"
UMBRELLA = "celeryd.service"
BOOTED = Path("/run/systemd/system")
RUNNING = ("active", "reloading")
ASLEEP = ("inactive", "failed")
LINES = "30"


class UnitError(Exception):
    """systemd refused; the message says why."""


class Units:
    """What systemd is asked to do."""

    def __init__(self, wanted, pending, ask, booted=True, check_mode=False):
        self.wanted = wanted
        self.pending = pending
        self.ask = ask
        self.booted = booted
        self.check_mode = check_mode
        self.touched = set()
        self.done = []

    def converge(self, touched: set) -> list:
        """Do what there is to do and return it, a line each."""
        self._enable()
        if self.booted:
            if RELOAD in touched:
                self._do("daemon-reload")
            self.touched = set(touched)
            self._forget(RELOAD)
            if UMBRELLA in self.wanted:
                self._take_up_pools()
            for unit in self.wanted:
                self._take_up(unit)
            for unit in sorted(self.touched - set(self.wanted)):
                self._do("disable", "--now", unit)
                self._forget(unit)
            self._require_running()
        return self.done

    def _enable(self) -> None:
        off = [unit for unit in self.wanted if self.ask("is-enabled", "--quiet", unit).returncode]
        if off:
            self._do("enable", *off)

    def _take_up_pools(self) -> None:
        """Have the umbrella start the pools, or restart one after the other what all of them read."""
        pools = [unit for unit in self.wanted if is_pool(unit)]
        asleep = [unit for unit in pools if self._state(unit) in ASLEEP]
        if self._state(UMBRELLA) not in RUNNING:
            self._do("start", UMBRELLA)
            self._forget(*asleep)  # they have just read their files
            pools = [unit for unit in pools if unit not in asleep]
        if UMBRELLA in self.touched and pools:
            self._do("reload", UMBRELLA)
            self._forget(*pools)
        self._forget(UMBRELLA)

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
            "pending": {"type": "path", "required": True},
            "touched": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    pending = Path(module.params["pending"])
    noted = [path.name for path in pending.iterdir()] if pending.is_dir() else []
    units = Units(module.params["wanted"], pending, systemctl, BOOTED.is_dir(), module.check_mode)
    try:
        done = units.converge({*noted, *module.params["touched"]})
    except UnitError as exc:
        module.fail_json(msg=str(exc), done=units.done)
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
