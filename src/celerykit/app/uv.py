"""uv, the one program that resolves and installs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from celerykit.app.errors import AppError, cause_of, mask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PIP_NAMES = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_FIND_LINKS": "UV_FIND_LINKS"}
"""What pip reads, by the variable of uv's that means the same."""
MIRRORS = ("UV_DEFAULT_INDEX", "UV_OFFLINE")
SHOWN = 60
"""Lines of a failure that are shown; the last ones say why."""


def run(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run uv where the app is, and return what it printed; what it says of its work goes to the log, without logins.

    :raises AppError: if it fails.
    """
    told = {**_environment(), **(environment or {})}
    command = ["uv", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout  # noqa: S101
        said = []
        for line in process.stdout:
            said.append(mask(line))
            if line.startswith(("Resolved", "   Building", "Prepared", "Downloading", " Downloading", "Installed")):
                print(f"  {said[-1].strip()}", flush=True)
    text = "".join(said)
    if process.returncode:
        shown = "".join(said[-SHOWN:]).strip()
        raise AppError(f"uv {arguments[0]} {arguments[1]} failed:\n{shown}", cause_of(text))
    return text


def tool(folder: Path, *arguments: str, packages: tuple[str, ...]) -> str:
    """Run another tool's exporter, which uv fetches for this once, and return what it printed.

    :raises AppError: if it fails.
    """
    wanted = [f"--with={name}" for name in packages[1:]]
    trusted = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE") or ""
    isolated = {
        "XDG_CACHE_HOME": str(folder / ".celerykit-cache"),
        **({"REQUESTS_CA_BUNDLE": trusted} if trusted else {}),
        "PIPENV_IGNORE_VIRTUALENVS": "1",
        "POETRY_VIRTUALENVS_CREATE": "false",
        "PIPENV_VENV_IN_PROJECT": "1",
    }
    call = ("tool", "run", "--quiet", "--python", sys.executable, "--from", packages[0], *wanted)
    return run(folder, *call, *arguments, environment=isolated)


def has_mirror() -> bool:
    """Say whether packages are had from elsewhere than where an app's lock file says."""
    return any(_environment().get(name) for name in MIRRORS)


def _environment() -> dict[str, str]:
    told = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for pip, uv in PIP_NAMES.items():
        if told.get(pip) and not told.get(uv):
            told[uv] = told[pip] if uv != "UV_FIND_LINKS" else ",".join(told[pip].split())
    return {**told, "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "GIT_TERMINAL_PROMPT": "0"}
