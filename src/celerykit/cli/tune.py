"""The command that proposes the size of a worker pool."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from celerykit.cli.readiness import prepare
from celerykit.config import environment
from celerykit.config.environment import DEFAULT_POOL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from celerykit.cli.groups import Group


def add(group: Group) -> None:
    """Add the command ``tune``."""
    examples = ("celerykit tune", "celerykit tune imports --apply", "celerykit tune --task shop.invoice --args '[17]'")
    summary = "propose the size of a worker pool from measurements of its jobs, start nothing"
    command = group.add("tune", summary, _tune, examples)
    command.add_argument("pool", nargs="?", default=DEFAULT_POOL, help="the worker pool, of worker-POOL.env")
    command.add_argument("--app", metavar="MODULE", help="the app, if not CELERY_APP")
    measured = command.add_mutually_exclusive_group()
    help_text = "measure runs of this task, here and now, instead of the worker's record"
    measured.add_argument("--task", metavar="NAME", help=help_text)
    help_text = "wait until the worker's record holds that many jobs"
    measured.add_argument("--sample", metavar="JOBS", type=_positive, default=0, help=help_text)
    command.add_argument(
        "--args", metavar="JSON", type=_json_of(list), default=[], help="arguments of the task, such as [1]"
    )
    command.add_argument("--kwargs", metavar="JSON", type=_json_of(dict), default={}, help='such as {"to": "me"}')
    command.add_argument("--runs", metavar="N", type=_positive, default=10, help="number of runs, default: %(default)s")
    outcome = command.add_mutually_exclusive_group()
    outcome.add_argument("--write", action="store_true", help="write the size into the pool's env file")
    outcome.add_argument("--apply", action="store_true", help="write it, and restart the workers one after the other")
    outcome.add_argument("--replicas", action="store_true", help="print only the best number of workers")
    # Celery's word for the children of a worker; this one counted workers.
    outcome.add_argument("--processes", action=_Renamed, nargs=0, help=argparse.SUPPRESS)


class _Renamed(argparse.Action):
    """Refuse a renamed option, with its new name."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.error("--processes is --replicas now")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _json_of(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(f"{text} is no JSON: {exc}") from exc
        if not isinstance(value, kind):
            raise argparse.ArgumentTypeError(f"{text} is no {'list' if kind is list else 'object'} of JSON")
        return value

    return read


def _tune(arguments: argparse.Namespace) -> int:
    from celerykit import launch
    from celerykit.host import rolling_restart
    from celerykit.tuning import recommendation

    if arguments.app:
        os.environ["CELERY_APP"] = arguments.app
    arguments.command, arguments.celery_options = "worker", []
    ready = prepare(arguments, arguments.pool)
    if arguments.apply:
        rolling_restart.commands(arguments.pool)  # refused before anything is written
    with contextlib.redirect_stdout(sys.stderr):
        launch.enter(ready)
        app = launch.load_app(ready)
        if arguments.task:
            advice = recommendation.of_task(
                ready, app, arguments.task, arguments.args, arguments.kwargs, arguments.runs
            )
        else:
            advice = recommendation.of_worker(ready, app, arguments.sample, _say)
    if arguments.replicas:
        print(advice.size.plan.replicas)
        return 0
    for line in advice.lines():
        print(line)
    if arguments.write or arguments.apply:
        _fix(recommendation.write(ready, advice.size.plan), apply=arguments.apply)
    return 0


def _fix(files: Sequence[Path], *, apply: bool) -> None:
    """Print the written files; restart their workers, or print how to."""
    from celerykit.host import rolling_restart, umbrella

    for path in files:
        print(f"wrote {path}")
    workers = [*map(environment.pool_of, files)]
    if not apply:
        print(f"in force from the next start on, such as: systemctl restart {umbrella.NAME}@{workers[0]}")
        return
    for name in rolling_restart.restart(workers):
        print(f"restarted {name}", flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
