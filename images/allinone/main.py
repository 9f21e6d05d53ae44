"""Run Redis, a worker and beat under supervisor, until told to stop or until one of them cannot be started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from supervisor import events, supervisord
from supervisor.states import SupervisorStates

DATA = Path("/data")
FOLDERS = ("beat", "celery", "redis", "secrets/celery", "secrets/flower", "secrets/redis")
"""``/secrets`` leads to the last ones, ``/var/lib/celery`` to the second."""
APP = Path("/app")
NEEDS = ("requirements.txt", "pyproject.toml", "Pipfile", "setup.py")
MARGIN = 10
"""Seconds beyond the worker's own budget after which it is killed."""


class Supervisor(supervisord.Supervisor):
    """Ends with everything when a part could not be started several times in a row."""

    failed = ""

    def runforever(self) -> None:
        """Listen from here on: whoever listened before is forgotten."""
        events.subscribe(events.ProcessStateFatalEvent, self._on_fatal)
        super().runforever()

    def _on_fatal(self, event: events.ProcessStateFatalEvent) -> None:
        Supervisor.failed = event.process.config.name
        self.options.mood = SupervisorStates.SHUTDOWN


def main() -> int:
    """Return 0 after a stop, 1 if a part could not be started."""
    for name in FOLDERS:
        (DATA / name).mkdir(mode=0o750, parents=True, exist_ok=True)
    subprocess.run(["celerykit", "passwords", "--server", "127.0.0.1:6379"], check=True)
    for name in NEEDS:
        if (APP / name).exists() and not (APP / ".deps").exists():
            print(f"celerykit: {APP / name}: nothing installs it here; compose/allinone.yaml does", file=sys.stderr)
    budget = float(os.environ.get("CELERYKIT_STOP_TIMEOUT") or 600)
    os.environ["SUPERVISOR_STOP_WAIT"] = str(int(budget + MARGIN))
    supervisord.Supervisor = Supervisor
    supervisord.main(["--configuration", "/etc/supervisor/celerykit.conf"])
    if not Supervisor.failed:
        return 0
    print(f"celerykit: {Supervisor.failed} could not be started, see its last lines above", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
