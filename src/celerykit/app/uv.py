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
"""uv's variable for each variable of pip."""
MIRRORS = ("UV_DEFAULT_INDEX", "UV_OFFLINE")
SHOWN = 60
"""The number of last lines of a failure to show."""


def run(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run uv in the app's folder and return its output without logins; print its progress.

    :raises AppError: if it fails.
    """
    environ = {**_environment(), **(environment or {})}
    command = ["uv", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout  # noqa: S101
        lines = []
        for line in process.stdout:
            lines.append(mask(line))
            if line.startswith(("Resolved", "   Building", "Prepared", "Downloading", " Downloading", "Installed")):
                print(f"  {lines[-1].strip()}", flush=True)
    text = "".join(lines)
    if process.returncode:
        shown = "".join(lines[-SHOWN:]).strip()
        raise AppError(f"uv {arguments[0]} {arguments[1]} failed:\n{shown}", cause_of(text))
    return text


def tool(folder: Path, *arguments: str, packages: tuple[str, ...]) -> str:
    """Run another tool's exporter, fetched by uv for this one call, and return its output.

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
    """Say whether the environment names another index than an app's lock file."""
    return any(_environment().get(name) for name in MIRRORS)


def _environment() -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for pip, uv in PIP_NAMES.items():
        if environ.get(pip) and not environ.get(uv):
            environ[uv] = environ[pip] if uv != "UV_FIND_LINKS" else ",".join(environ[pip].split())
    return {**environ, "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "GIT_TERMINAL_PROMPT": "0"}
