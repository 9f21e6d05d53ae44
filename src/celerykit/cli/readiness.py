"""The first steps of the commands that need Celery: the check of releases, and the configuration of a process."""

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
    """Check the installed releases before the first import from them: it could fail on an older one.

    :raises ConfigurationError: if the kit does not support them.
    """
    from celerykit import releases

    for finding in releases.require():
        warn(finding)


def warn(finding: Finding) -> None:
    """Print a finding that does not prevent the start."""
    print(f"celerykit: warning: {finding}", file=sys.stderr)
