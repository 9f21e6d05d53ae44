"""Celery's options on a command line: the global ones, a worker's pool, and all others."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from celerykit.config import celery_cli, environment, option_names
from celerykit.config.environment import ARGUMENTS
from celerykit.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

GLOBAL = {
    "CELERY_APP": ("-A", "--app"),
    "CELERY_BROKER_URL": ("-b", "--broker"),
    "CELERY_CONFIG_MODULE": ("--config",),
    "CELERY_LOADER": ("--loader",),
    "CELERY_RESULT_BACKEND": ("--result-backend",),
    "CELERY_WORKDIR": ("--workdir",),
}
"""The options that Celery accepts only before its command, by their variable."""
SWITCHES = {
    "CELERY_NO_COLOR": ("-C", "--no-color"),
    "CELERY_QUIET": ("-q", "--quiet"),
    "CELERY_SKIP_CHECKS": ("--skip-checks",),
}
"""The options without a value that Celery accepts only before its command, by their variable."""
FLAGS = frozenset().union(*GLOBAL.values(), *SWITCHES.values())
KIT_OPTIONS = ("--explain",)
"""Options of the kit's own command."""


def split_global(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return Celery's global options as variables, wherever they stand, and the other words."""
    parser = _parser()
    for variable, flags in GLOBAL.items():
        parser.add_argument(*flags, dest=variable)
    for variable, flags in SWITCHES.items():
        parser.add_argument(*flags, dest=variable, action="store_const", const="true")
    parsed, others = parser.parse_known_args(list(words))
    return {name: value for name, value in vars(parsed).items() if value is not None}, others


def split_pool(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the pool kind of ``-P`` among a worker's words, None if there is none, and the other words."""
    parser = _parser()
    parser.add_argument("-P", "--pool")
    parsed, others = parser.parse_known_args(list(words))
    return parsed.pool, others


def unfit(process: str, words: Sequence[str], app: Any) -> list[Finding]:
    """Return a finding for each word that Celery would refuse for ``worker`` or ``beat``; Flower checks its own.

    :param app: the app; it may have added options to the command.
    """
    import click

    if process == "flower":
        return []
    command = celery_cli.stock().commands[process]
    params = [*command.params, *app.user_options.get(process, ()), *app.user_options.get("preload", ())]
    context = click.Context(click.Command(process, params=params))
    try:
        values, others, _ = context.command.make_parser(context).parse_args(list(words))
    except click.NoSuchOption as exc:
        return [_unknown(process, exc.option_name, params)]
    except click.UsageError as exc:
        return [Finding("OPTIONS", "", ARGUMENTS, exc.message.rstrip("."), f"See 'celery {process} --help'")]
    problems = [_unfit_value(param, values[param.name]) for param in params if isinstance(values.get(param.name), str)]
    return [*filter(None, problems), *(_stray(process, word) for word in others if "=" not in word)]


def _unknown(process: str, option: str, params: Sequence[Any]) -> Finding:
    near = option_names.closest(option, [*KIT_OPTIONS, *(name for param in params for name in param.opts)])
    remedy = f"Did you mean {near}?" if near else f"See 'celery {process} --help'"
    return Finding(option, "", ARGUMENTS, f"no option of 'celery {process}' or the kit", remedy)


def _unfit_value(param: Any, value: str) -> Finding | None:
    problem = environment.unfit_value(param, value)
    return Finding(param.opts[-1], value, ARGUMENTS, problem, environment.remedy(param)) if problem else None


def _stray(process: str, word: str) -> Finding:
    remedy = "Name the pool first: celerykit worker POOL -c 4" if process == "worker" else "Drop it"
    return Finding(word, "", ARGUMENTS, "neither an option nor an option's value", remedy)


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog="celerykit", add_help=False, allow_abbrev=False)
