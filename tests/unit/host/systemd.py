"""A systemd that is played: it answers for the units that a test gives it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DEAD = {"ActiveState": "failed", "SubState": "failed", "MainPID": "0", "Result": "exit-code", "ExecMainStatus": "78"}
RUNS = {"ActiveState": "active", "SubState": "running", "MainPID": "7", "Result": "success", "ExecMainStatus": "0"}


class Systemd:
    """Answers like ``systemctl`` for the units that it is given."""

    def __init__(self, enabled: dict[str, dict[str, str]], others: dict[str, dict[str, str]] | None = None):
        self.enabled = [f"celeryd@{pool}.service" for pool in enabled]
        self.units = {f"celeryd@{pool}.service": shown for pool, shown in {**enabled, **(others or {})}.items()}
        self.done: list[tuple[str, ...]] = []
        self.refuses: set[str] = set()
        self.failed = False

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Answer one call."""
        verb, *rest = arguments
        text = ""
        if arguments[:2] == ("show", "--property=Wants"):
            text = " ".join(["network-online.target", *reversed(self.enabled)])
        elif verb == "list-units":
            text = "".join(f"{unit} loaded x y Celery\n" for unit in self.units)
        elif verb == "show":
            text = "\n\n".join("\n".join(self._shown(unit)) for unit in rest[1:])
        elif verb != "is-failed":
            self.done.append(arguments)
        refused = bool(self.refuses & set(arguments)) or (verb == "is-failed" and not self.failed)
        return subprocess.CompletedProcess(arguments, int(refused), text, "Job failed." if refused else "")

    def _shown(self, unit: str) -> Iterator[str]:
        for name, value in {"Id": unit, "NRestarts": "0", "StatusText": "", **self.units[unit]}.items():
            yield f"{name}={value}"
