"""The command that checks a configuration for job loss."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING

from celerykit.cli.readiness import require_releases
from celerykit.errors import EX_CONFIG

if TYPE_CHECKING:
    import argparse

    from celerykit.cli.groups import Group


def add(group: Group) -> None:
    """Add the command ``check``."""
    examples = ("celerykit check", "celerykit check imports --format json")
    command = group.add("check", "check the configuration for job loss, start nothing", _check, examples)
    command.add_argument("pools", nargs="*", metavar="POOL", help="default: every pool that has an env file")
    command.add_argument("--format", choices=["text", "json"], default="text")
    help_text = "check env files, as JSON on standard input, before they are in place; exit with 78 if one cannot run"
    command.add_argument("--candidate", action="store_true", help=help_text)


def _check(arguments: argparse.Namespace) -> int:
    require_releases()
    from celerykit import releases
    from celerykit.checks import job_loss

    if arguments.candidate:
        from celerykit.checks import staged

        for finding in staged.judge(json.load(sys.stdin)):
            print(finding)
        return 0
    # Output of the app's import is no part of the answer.
    with contextlib.redirect_stdout(sys.stderr):
        findings = job_loss.check(arguments.pools)
    if arguments.format == "json":
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
        if not findings:
            print("nothing found by which a job could be lost")
    refused = set(releases.redis_refusals())  # they count only if the app's broker is Redis
    return EX_CONFIG if refused & set(findings) else 1 if findings else 0
