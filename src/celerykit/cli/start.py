"""The commands that become a process of Celery, or another program with its environment."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from celerykit.cli.readiness import prepare, warn
from celerykit.config import environment
from celerykit.config.environment import DEFAULT_POOL
from celerykit.errors import EX_CONFIG, ConfigurationError, Finding

if TYPE_CHECKING:
    import argparse

    from celerykit.cli.groups import Group
    from celerykit.process import Launch

OTHERS = "All other options are Celery's, with or without '--' before them."
PROCESSES = {
    "worker": (
        "start a worker of one pool",
        ("celerykit worker", "celerykit worker imports --explain", "celerykit worker -A app -Q a,b -c 4 -l info"),
    ),
    "beat": ("start the scheduler of periodic tasks", ("celerykit beat", "celerykit beat --explain")),
    "flower": ("start the Flower web monitor", ("celerykit flower", "celerykit flower --port=5556")),
}


def add(group: Group) -> None:
    """Add a command for each process of Celery."""
    for process, (summary, examples) in PROCESSES.items():
        command = group.add(process, summary, _start, examples)
        command.epilog = f"{OTHERS}\n\n{command.epilog}"
        if process == "worker":
            command.add_argument("pool", nargs="?", default=DEFAULT_POOL, help="the worker pool, of worker-POOL.env")
        help_text = "print each resolved value with its source, start nothing"
        command.add_argument("--explain", action="store_true", help=help_text)


def add_run(group: Group) -> None:
    """Add the command that becomes any other program."""
    group.add(
        "run",
        "run a program with the environment of Celery's processes",
        _run,
        ("celerykit run python manage.py migrate",),
        usage="celerykit run PROGRAM [WORD...]",
    )


def _start(arguments: argparse.Namespace) -> int:
    from celerykit.host.restart_delay import HoldOff

    pool = getattr(arguments, "pool", DEFAULT_POOL)
    if arguments.explain:
        return _explain(prepare(arguments, pool))
    hold_off = HoldOff(arguments.command, pool)
    hold_off.wait()
    try:
        ready = prepare(arguments, pool)
        from celerykit import launch

        sys.stdout.flush()
        return launch.run(ready, warn)
    except ConfigurationError as exc:
        hold_off.refused(exc)
        raise


def _run(arguments: argparse.Namespace) -> int:
    """Become another program; it reads its secrets by the kit's loader, or from their files."""
    program = arguments.celery_options[1:] if arguments.celery_options[:1] == ["--"] else arguments.celery_options
    if not program:
        finding = Finding("PROGRAM", "", "arguments", "is missing", "celerykit run PROGRAM [WORD...]")
        raise ConfigurationError(finding)
    resolved = environment.gather("run", os.environ)
    try:
        os.execvpe(program[0], program, resolved.values)  # noqa: S606  # without a shell, as meant
    except OSError as exc:
        finding = Finding("PROGRAM", program[0], "arguments", f"cannot be run: {exc.strerror}", "Mend the name")
        raise ConfigurationError(finding) from exc


def _explain(ready: Launch) -> int:
    tuned = app = None
    code = 0
    if ready.process == "worker":
        from celerykit import launch

        try:
            # Output of the app's import is no part of the answer.
            with contextlib.redirect_stdout(sys.stderr):
                launch.enter(ready)
                app = launch.load_app(ready)
                tuned = launch.tune(ready, app)
        except ConfigurationError as exc:  # the resolved values are still worth printing
            code = EX_CONFIG
            for finding in exc.findings:
                warn(finding)
    for line in ready.explain(tuned, app):
        print(line)
    return code
