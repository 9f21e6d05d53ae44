"""The names that the package gives to apps and operators."""

from __future__ import annotations

import subprocess
import sys

import pytest

import celerykit


def test_each_public_name_is_there() -> None:
    """An app may import all that ``__all__`` lists, and gets the class that a job's result holds."""
    from celerykit.worker import request

    assert {name for name in celerykit.__all__ if getattr(celerykit, name)} == {
        "DeliveriesExceeded",
        "__version__",
        "configure",
    }
    assert celerykit.DeliveriesExceeded is request.DeliveriesExceeded


def test_no_other_name_is_there() -> None:
    """A misspelt name is an error that tells it."""
    with pytest.raises(AttributeError, match="module 'celerykit' has no attribute 'configured'"):
        celerykit.configured  # type: ignore[attr-defined]  # noqa: B018


def test_the_package_imports_no_celery() -> None:
    """The health check imports it every few seconds."""
    asked = "import celerykit, sys; sys.exit(any(name in sys.modules for name in ('celery', 'kombu')))"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_the_help_lists_commands_for_people_first() -> None:
    """Who looks for a command meets those of units and images last. The help of each of the others has an example."""
    said = asked("--help")
    first, last = said.index("commands for people:"), said.index("commands for units, images and health checks:")
    for name in ("worker", "beat", "flower", "check", "status", "tune", "waiting", "run"):
        assert first < said.index(f"\n  {name} ") < last
        assert f"\n  celerykit {name}" in asked(name, "--help")
    for name in ("probe", "pools", "passwords", "certificates"):
        assert said.index(f"\n  {name} ") > last


def asked(*arguments: str) -> str:
    """Return what the command line prints."""
    command = [sys.executable, "-m", "celerykit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
