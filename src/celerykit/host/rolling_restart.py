"""Restarting the workers of a pool one after the other, by whatever starts and stops them on this host."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from celerykit.errors import ConfigurationError, Finding
from celerykit.host import umbrella

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MANAGERS = {
    "/run/systemd/system": ("systemctl enable --quiet {unit}", "systemctl restart {unit}"),
    "/etc/supervisor/conf.d/{unit}.conf": ("supervisorctl restart {unit}",),
    "/etc/init.d/{script}": ("service {script} restart {name}",),
}
"""What a manager is known by, and its commands; the last one returns when the worker has stopped and started."""


def restart(names: Iterable[str]) -> Iterator[str]:
    """Restart workers, each when the one before is there again, and yield the name of each that is.

    :param names: as in ``celeryd@NAME``; one that does not run yet is started.
    :raises ConfigurationError: if nothing here manages workers, or it refuses.
    """
    for name in names:
        for command in commands(name):
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                said = (done.stderr or done.stdout).strip()
                remedy = "Mend that, and say it again: what was restarted before has the new values, and nothing else"
                raise ConfigurationError(Finding("--apply", name, command, f"failed: {said}", remedy))
        yield name


def commands(name: str) -> list[str]:
    """Return what restarts a worker here.

    :raises ConfigurationError: if nothing does.
    """
    told = {"name": name, "unit": umbrella.unit_of(name).removesuffix(".service"), "script": umbrella.NAME}
    for mark, found in MANAGERS.items():
        if Path(mark.format(**told)).exists():
            return [command.format(**told) for command in found]
    problem = "nothing here starts workers: no systemd, no program of supervisor and no script in /etc/init.d"
    remedy = "In containers, give the values to the service's environment, and docker compose up starts it anew"
    raise ConfigurationError(Finding("--apply", name, "this machine", problem, remedy))
