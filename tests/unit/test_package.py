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
