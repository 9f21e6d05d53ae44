"""The machine under an app: its service manager and its Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celerykit.deploy.refusals import Refusals
    from celerykit.deploy.variables import Variables

BOOTERS = ("systemd", "sysvinit")
"""The programs of PID 1 that start the enabled units at boot."""


def manager_of(values: Variables) -> str:
    """Return the service manager that starts, watches and stops the processes."""
    booted = values["service_mgr"]
    return values["service_manager"] or (booted if booted in BOOTERS else "supervisor")


def judge(values: Variables, refusals: Refusals) -> None:
    """Refuse a machine that cannot run the processes."""
    _judge_manager(values, refusals)
    _judge_python(values, refusals)


def _judge_manager(values: Variables, refusals: Refusals) -> None:
    manager, booted = manager_of(values), values["service_mgr"]
    # Supervisor runs anywhere but under systemd, which ends it with all its programs after 90 seconds.
    if manager != booted and (manager != "supervisor" or booted == "systemd"):
        refusals.add(
            f"celery_service_manager={manager}",
            f"PID 1 of this host is not that, but {booted}",
            "Leave it empty, and the role takes the one that fits the host",
        )
    if manager not in values["managers"]:
        refusals.add(
            f"celery_service_manager={manager}",
            "not known on this family of systems",
            f"Take a host with {' or '.join(values['managers'])}, or run the containers of the kit there",
        )


def _judge_python(values: Variables, refusals: Refusals) -> None:
    manifest = Path(values["files"], "kit/pyproject.toml").read_text(encoding="utf-8")
    oldest, end = map(int, re.findall(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', manifest)[0])
    major, minor = map(int, values["python_version"].split(".")[:2])
    if major != 3 or not oldest <= minor < end:
        refusals.add(
            f"ansible_python_interpreter={values['python']}",
            f"that is Python {values['python_version']}, and celerykit needs 3.{oldest} to 3.{end - 1}",
            "Install such a Python on the host and name it there",
        )
