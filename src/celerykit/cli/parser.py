"""The parser of command lines: it selects a command, and separates the kit's options from Celery's."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from celerykit import __version__
from celerykit.cli import check, credentials, host, start, tune, waiting
from celerykit.cli.groups import Group
from celerykit.errors import EX_CONFIG, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

KIT_OPTIONS = frozenset({"--explain", "-h", "--help"})
"""The kit's own options among the options of a Celery process."""


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    if argv[:1] == ["run"] and argv[1:2] not in (["-h"], ["--help"]):
        for_kit, for_celery = ["run"], [*argv[1:]]
    else:
        for_kit, for_celery = _split(argv)
    arguments = _parser().parse_args(for_kit)
    arguments.celery_options = for_celery
    try:
        return int(arguments.run(arguments))
    except ConfigurationError as exc:
        for finding in exc.findings:
            print(f"celerykit: error: {finding}", file=sys.stderr)
        return EX_CONFIG


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the kit's own words, and those for Celery.

    After the name of a process, only its pool and :data:`KIT_OPTIONS` are the kit's. A ``--`` before Celery's words is
    optional, and Celery's global options may stand before the command.
    """
    position = list(argv).index("--") if "--" in argv else len(argv)
    before, after = list(argv[:position]), list(argv[position + 1 :])
    command = next((number for number, word in enumerate(before) if word in start.PROCESSES), None)
    if command is None or not _is_global(before[:command]):
        if after:
            _parser().error(f"'{' '.join(before[:1])}' takes no Celery options after '--'")
        return before, []
    words = before[command + 1 :]
    for_kit = [word for word in words if word in KIT_OPTIONS]
    others = [word for word in words if word not in KIT_OPTIONS]
    pool = others[:1] if before[command] == "worker" and others and not others[0].startswith("-") else []
    return [before[command], *for_kit, *pool], [*before[:command], *others[len(pool) :], *after]


def _is_global(words: Sequence[str]) -> bool:
    """Say whether all of the words are global options of Celery and their values."""
    if not words:
        return True
    from celerykit.config import command_line

    return words[0] in command_line.FLAGS and not command_line.split_global(words)[1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="celerykit",
        description="Run Celery in production without losing jobs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"celerykit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", help="one of those below")
    people = Group(commands, "commands for people")
    start.add(people)
    check.add(people)
    host.add_status(people)
    tune.add(people)
    waiting.add(people)
    start.add_run(people)
    others = Group(commands, "commands for units, images and health checks")
    host.add_probe(others)
    host.add_pools(others)
    credentials.add_passwords(others)
    credentials.add_certificates(others)
    parser.epilog = f"{people}\n\n{others}\n\n'celerykit COMMAND --help' has its options, and examples."
    return parser
