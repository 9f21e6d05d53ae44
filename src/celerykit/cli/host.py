"""The commands that show the processes of this machine, or control its pools."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from celerykit.health import probe

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from celerykit.cli.groups import Group


def add_status(group: Group) -> None:
    """Add the command ``status``."""
    examples = ("celerykit status", "celerykit status --format prometheus")
    command = group.add("status", "list the pools of this machine; exit with 1 if one is not ready", _status, examples)
    help_text = "prometheus: metrics, with exit code 0 even if a pool is not ready"
    command.add_argument("--format", choices=["text", "json", "prometheus"], default="text", help=help_text)


def add_pools(group: Group) -> None:
    """Add the command ``pools``, with the verbs of ``celeryd.service``."""
    command = group.add("pools", "run a verb of celeryd.service on all enabled pools, under systemd", _pools)
    command.add_argument("verb", choices=["run", "stop", "reload", "revive", "rejoin"])


def add_probe(group: Group) -> None:
    """Add the probe to the help; ``__main__`` answers it before this room is imported."""
    summary = "exit with 0 if a process of this machine is live or ready, else with 1"
    group.add("probe", summary, usage=probe.USAGE.removeprefix("usage: "))


def _status(arguments: argparse.Namespace) -> int:
    from celerykit.host import status

    statuses = status.status()
    if arguments.format == "prometheus":
        from celerykit.host import metrics

        print(metrics.exposition(statuses), end="")
        return 0
    if arguments.format == "json":
        print(json.dumps([asdict(pool) for pool in statuses], indent=2))
    else:
        for pool in statuses:
            print(pool)
    return 0 if statuses and all(pool.well for pool in statuses) else 1


def _pools(arguments: argparse.Namespace) -> int:
    from celerykit.host import umbrella

    verbs: dict[str, Callable[[], None]] = {
        "run": umbrella.run,
        "stop": umbrella.stop,
        "reload": umbrella.reload,
        "revive": umbrella.revive,
        "rejoin": umbrella.rejoin,
    }
    try:
        verbs[arguments.verb]()
    except umbrella.PoolsError as exc:
        print(f"celerykit: error: {exc}", file=sys.stderr)
        return 1
    return 0
