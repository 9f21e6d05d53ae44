"""The first steps of the commands that need Celery: what is installed, and what a process is told."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from celerykit.errors import Finding
    from celerykit.process import Launch


def prepare(arguments: argparse.Namespace, pool: str) -> Launch:
    """Return a process that is ready to start, and print its warnings.

    :raises ConfigurationError: if it must not start.
    """
    require_releases()
    from celerykit import launch

    ready, warnings = launch.prepare(arguments.command, os.environ, pool, arguments.celery_options)
    for finding in warnings:
        warn(finding)
    return ready


def require_releases() -> None:
    """Look at what is installed before anything of it is imported, which might lack what the kit imports.

    :raises ConfigurationError: if the kit does not run on it.
    """
    from celerykit import releases

    for finding in releases.require():
        warn(finding)


def warn(finding: Finding) -> None:
    """Print a finding that keeps nothing from running."""
    print(f"celerykit: warning: {finding}", file=sys.stderr)
