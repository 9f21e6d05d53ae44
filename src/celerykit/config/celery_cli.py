"""Celery's command line for a worker and beat: without the prompt of ``celery amqp``, and other packages' commands.

Both would import a terminal toolkit and all of Flower: a third of the import time and a quarter of the process's
memory, measured.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGINS = "celery.commands"
"""The entry points by which other packages add a command."""
PROMPT = "click_repl"


@cache
def stock() -> Any:
    """Return the command line with Celery's own commands.

    Imports Celery: green pools must have patched the standard library before.
    """
    with _without_prompt(), _without_plugins():
        from celery.bin.celery import celery
    return celery


@cache
def whole() -> Any:
    """Return the command line with the commands of other packages, too."""
    from click_plugins import with_plugins

    return with_plugins(metadata.entry_points(group=PLUGINS))(stock())


def hand_over(celery: Any, app: Any) -> None:
    """Make the command line run ``app`` instead of a search by name, which finds no app behind a function.

    The variable stays, for a worker that restarts itself.
    """
    option = next(param for param in celery.params if param.name == "app")
    option.default, option.envvar, option.allow_from_autoenv = app, None, False


def plugins() -> list[str]:
    """Return the names of other packages' commands, without importing any."""
    return [point.name for point in metadata.entry_points(group=PLUGINS)]


@contextmanager
def _without_prompt() -> Iterator[None]:
    """Replace the prompt's module by an empty one during the import; a later import gets the real one."""
    if PROMPT in sys.modules:
        yield
        return
    stand_in = ModuleType(PROMPT)
    vars(stand_in)["register_repl"] = lambda group: None
    sys.modules[PROMPT] = stand_in
    try:
        yield
    finally:
        del sys.modules[PROMPT]


@contextmanager
def _without_plugins() -> Iterator[None]:
    everything = metadata.entry_points
    vars(metadata)["entry_points"] = lambda **wanted: () if wanted.get("group") == PLUGINS else everything(**wanted)
    try:
        yield
    finally:
        vars(metadata)["entry_points"] = everything
