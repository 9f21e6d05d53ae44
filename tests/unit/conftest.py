"""Real processes with an environment that holds nothing but what a test says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import _state

import celerykit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Run = Callable[..., subprocess.CompletedProcess[str]]

OTHERS = {"APP", "BROKER_URL", "RESULT_BACKEND", "NOTIFY_SOCKET", "STATE_DIRECTORY", "WATCHDOG_PID", "WATCHDOG_USEC"}
APPS = Path(__file__).parents[1] / "apps"
SEARCHED = f"{APPS}:{Path(celerykit.__file__).parents[1]}"
"""Where a process of a test finds the apps, and the package that the test itself has."""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the caller's own Celery variables out of every test, and the machine's env files."""
    for name in list(os.environ):
        if name.startswith(("CELERY", "FLOWER_")) or name in OTHERS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("CELERYKIT_CONFIG_DIR", str(tmp_path / "etc"))


@pytest.fixture(autouse=True)
def tasks_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test's tasks out of the apps of later tests: ``app.task()`` shares a task with every app to come."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Return a folder for env files, known as ``CELERYKIT_CONFIG_DIR``."""
    folder = tmp_path / "etc"
    folder.mkdir()
    return folder


@pytest.fixture
def python(tmp_path: Path) -> Run:
    """Return a function that runs Python in the folder of the test apps."""

    def run(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        bare = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": SEARCHED,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore",
            "CELERYKIT_CONFIG_DIR": str(tmp_path / "etc"),
            "CELERYKIT_STATE_DIR": str(tmp_path),
            "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        }
        told = {**bare, **(environ or {})}
        return subprocess.run(
            [sys.executable, *arguments],
            env={name: value for name, value in told.items() if value},
            cwd=APPS,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def celerykit(python: Run) -> Run:
    """Return a function that runs the command ``celerykit``."""

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return python("-m", "celerykit", *arguments, environ=environ)

    return run
