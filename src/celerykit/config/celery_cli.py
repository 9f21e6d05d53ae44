"""Celery's command line as a worker and beat need it: without the prompt of ``celery amqp``, and others' commands.

Those bring along a terminal's toolkit, and all of Flower: a third of the time that the imports take, and a quarter of
the memory that the process has, measured.
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
def own() -> Any:
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

    return with_plugins(metadata.entry_points(group=PLUGINS))(own())


def hand_over(celery: Any, app: Any) -> None:
    """Have the command line run ``app``, and not look for one: by the name of a function it would find no app.

    The variable stays, for a worker that starts itself anew.
    """
    option = next(param for param in celery.params if param.name == "app")
    option.default, option.envvar, option.allow_from_autoenv = app, None, False


def plugins() -> list[str]:
    """Return the names of other packages' commands, without importing any."""
    return [point.name for point in metadata.entry_points(group=PLUGINS)]


@contextmanager
def _without_prompt() -> Iterator[None]:
    """Let a module that does nothing stand in for the prompt; whoever imports it later gets the real one."""
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
