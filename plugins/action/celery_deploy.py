"""Have ``celerykit.deploy`` work out what a host needs, or refuse the host with the reasons.

It runs on the controller, and changes nothing. So it runs in a check, too. Its answer may hold passwords, and no log
shows it; the reasons of a refusal hold none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.filter.core import to_json

SOURCE = Path(__file__).resolve().parents[2] / "src"


class ActionModule(ActionBase):
    """``celery_deploy: { command: plan, values: {...} }`` returns ``answer``."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(("command", "values"))
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer, or fail with the name of the host and each reason."""
        result = super().run(tmp, task_vars)
        command, values = (self._task.args[name] for name in ("command", "values"))
        # A process of its own: Ansible's may have another release of the package, and wraps each value in its types.
        done = subprocess.run(
            [sys.executable, "-m", "celerykit.deploy", command],
            input=to_json(values, vault_to_text=True),
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            capture_output=True,
            text=True,
            check=False,
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
        reasons = answer["errors"] if answer else [f"celerykit.deploy {command}: {done.stderr}"]
        if reasons:
            host = (task_vars or {}).get("inventory_hostname", "")
            return {**result, "failed": True, "msg": "\n".join((f"{host}: {reasons[0]}", *reasons[1:]))}
        return {**result, "changed": False, "answer": answer, "_ansible_no_log": True}
