"""A rising delay between restarts where systemd has none: before version 254 it restarts a unit every 2 seconds.

A process with a refused configuration ends at once, so that ``systemctl start`` fails at once. The next start by
systemd itself waits before it reads the configuration, so that the journal does not fill.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from celerykit import instance
from celerykit.health import statefile
from celerykit.health.sd_notify import notify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celerykit.errors import ConfigurationError
    from celerykit.host.umbrella import Systemctl

LONGEST = 60.0
"""The longest delay in seconds, as in ``systemd/restart-delay.conf`` for a newer systemd."""
UNITS = {
    "worker": f"{instance.named(instance.UMBRELLA)}@{{pool}}.service",
    "beat": f"{instance.named(instance.BEAT)}.service",
    "flower": f"{instance.named(instance.FLOWER)}.service",
}


class HoldOff:
    """The delay of one process; it keeps a note of a refusal beside the state files."""

    def __init__(
        self, process: str, pool: str, environ: Mapping[str, str] = os.environ, systemctl: Systemctl | None = None
    ):
        self._unit = UNITS[process].format(pool=pool)
        self._note = Path(statefile.path(instance.state_folder(environ), process, pool)).with_suffix(".refused")
        self._by_systemd = "INVOCATION_ID" in environ
        self._systemctl = systemctl

    def wait(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Wait if the last start was refused, and systemd itself has restarted the unit without a rising delay."""
        if not self._by_systemd or not (note := self._take_note()):
            return
        before, _, reason = note.partition(" ")
        restarts = self._restarts()
        if restarts is None or str(restarts - 1) != before:
            return  # an operator has started the unit, and waits for the answer
        seconds = min(2.0 ** min(restarts, 10), LONGEST)
        notify(f"STATUS=tries again in {seconds:g} s, was refused: {reason}")
        sleep(seconds)

    def refused(self, error: ConfigurationError) -> None:
        """Report the reason of the refusal to systemd, and note it for the next start."""
        if not self._by_systemd:
            return
        reason = " ".join(str(error.findings[0]).split())
        notify(f"STATUS=refused: {reason}")
        if (restarts := self._restarts()) is not None:
            with contextlib.suppress(OSError):
                self._note.write_text(f"{restarts} {reason}", encoding="utf-8")

    def _take_note(self) -> str:
        try:
            note = self._note.read_text(encoding="utf-8")
            self._note.unlink()
        except OSError:
            return ""
        return note

    def _restarts(self) -> int | None:
        """Return the number of restarts by systemd itself; None without systemd, or where its own delay rises."""
        from celerykit.host import umbrella

        systemctl = self._systemctl or umbrella.systemctl
        try:
            shown = systemctl("show", "--property=NRestarts,RestartSteps", self._unit).stdout
        except OSError:
            return None
        values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        return int(values.get("NRestarts") or 0) if values.get("RestartSteps", "0") == "0" else None
