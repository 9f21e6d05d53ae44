"""The restart of a pool's workers one after the other, by the init system of this host."""

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
"""The commands of each init system, by the path that marks it; the last command returns after the restart."""


def restart(names: Iterable[str]) -> Iterator[str]:
    """Restart workers one after the other, and yield the name of each once it is ready.

    :param names: the workers' names, as in ``celeryd@NAME``; a stopped worker is started.
    :raises ConfigurationError: if no init system here manages workers, or a command fails.
    """
    for name in names:
        for command in commands(name):
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                output = (done.stderr or done.stdout).strip()
                remedy = "Mend that, and repeat the command: only the workers restarted before have the new values"
                raise ConfigurationError(Finding("--apply", name, command, f"failed: {output}", remedy))
        yield name


def commands(name: str) -> list[str]:
    """Return the commands that restart a worker on this host.

    :raises ConfigurationError: if no init system here manages workers.
    """
    words = {"name": name, "unit": umbrella.unit_of(name).removesuffix(".service"), "script": umbrella.NAME}
    for mark, templates in MANAGERS.items():
        if Path(mark.format(**words)).exists():
            return [command.format(**words) for command in templates]
    problem = "nothing here starts workers: no systemd, no program of supervisor and no script in /etc/init.d"
    remedy = "In containers, set the values in the service's environment, then restart it: docker compose up --detach"
    raise ConfigurationError(Finding("--apply", name, "this machine", problem, remedy))
