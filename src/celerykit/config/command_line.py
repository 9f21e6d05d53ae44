"""The words of a command line that are Celery's: its global options, a worker's pool, and all others."""

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
"""Options that Celery takes before its command alone, and the variable that each of them is."""
SWITCHES = {
    "CELERY_NO_COLOR": ("-C", "--no-color"),
    "CELERY_QUIET": ("-q", "--quiet"),
    "CELERY_SKIP_CHECKS": ("--skip-checks",),
}
"""Options without a value that Celery takes before its command alone, and the variable that each of them is."""
FLAGS = frozenset().union(*GLOBAL.values(), *SWITCHES.values())
OWN = ("--explain",)
"""What the kit's own command takes beside them."""


def split_global(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return what Celery's global options say, as variables, and the other words; wherever the options stand."""
    parser = _parser()
    for variable, flags in GLOBAL.items():
        parser.add_argument(*flags, dest=variable)
    for variable, flags in SWITCHES.items():
        parser.add_argument(*flags, dest=variable, action="store_const", const="true")
    said, others = parser.parse_known_args(list(words))
    return {name: value for name, value in vars(said).items() if value is not None}, others


def split_pool(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the class of pool among a worker's words, and the other words."""
    parser = _parser()
    parser.add_argument("-P", "--pool")
    known, others = parser.parse_known_args(list(words))
    return known.pool, others


def unfit(process: str, words: Sequence[str], app: Any) -> list[Finding]:
    """Return what Celery would not take among the words for ``worker`` or ``beat``; Flower judges its own.

    :param app: which may have given the command more options.
    """
    import click

    if process == "flower":
        return []
    command = celery_cli.own().commands[process]
    params = [*command.params, *app.user_options.get(process, ()), *app.user_options.get("preload", ())]
    context = click.Context(click.Command(process, params=params))
    try:
        told, others, _ = context.command.make_parser(context).parse_args(list(words))
    except click.NoSuchOption as exc:
        return [_unknown(process, exc.option_name, params)]
    except click.UsageError as exc:
        return [Finding("OPTIONS", "", ARGUMENTS, exc.message.rstrip("."), f"See 'celery {process} --help'")]
    values = [_unfit_value(param, told[param.name]) for param in params if isinstance(told.get(param.name), str)]
    return [*filter(None, values), *(_stray(process, word) for word in others if "=" not in word)]


def _unknown(process: str, option: str, params: Sequence[Any]) -> Finding:
    near = option_names.closest(option, [*OWN, *(name for param in params for name in param.opts)])
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
