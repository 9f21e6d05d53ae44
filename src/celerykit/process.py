"""A process that is ready to become Celery: what it was told, and what the jobs of its pool were seen to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celerykit.celery_app import defaults, meanings
from celerykit.config import command_line, envfile, environment, settings
from celerykit.errors import ConfigurationError, Finding
from celerykit.sizing import history

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celerykit.config.environment import Environment
    from celerykit.sizing.model import Tuning

POOL_ALIAS = {"prefork": "processes"}
"""``-P prefork`` gives way to an app's ``worker_pool``; its alias does not (``celery.bin.worker.WorkersPool``)."""


@dataclass(frozen=True)
class Launch:
    """A process that is ready to become Celery."""

    process: str
    pool: str
    arguments: list[str]
    environment: Environment
    settings: settings.Settings
    pool_class: str = ""
    """The worker pool's alias, as ``-P`` takes it: the one that is told, or else what fits; nothing before that."""

    @property
    def told_pool(self) -> str:
        """The alias that the arguments or the environment say, nothing if none of them says it."""
        return command_line.split_pool(self.arguments)[0] or self.environment.values.get("CELERY_WORKER_POOL", "")

    @property
    def profile_file(self) -> Path:
        """The file with what jobs of this pool were seen to do: by this worker, or else by the pool's first one."""
        values = self.environment.values
        own = history.path(values, self.pool)
        if os.access(own, os.F_OK):
            return own
        return history.path(values, environment.pool_behind(environment.config_dir(values), self.pool))

    @cached_property
    def seen(self) -> tuple[history.Record | None, list[Finding]]:
        """The record in :attr:`profile_file` at the start, or the reason that it cannot be used."""
        if self.process != "worker" or self.settings.tune == settings.OFF:
            return None, []
        try:
            return history.read(self.profile_file, self.environment.values.get("CELERY_APP", "")), []
        except ConfigurationError as exc:
            return None, list(exc.findings)

    @property
    def argv(self) -> list[str]:
        """The command line that Celery gets: the pool, and what the caller added."""
        if self.process != "worker":
            return [self.process, *self.arguments]
        alias = POOL_ALIAS.get(self.pool_class, self.pool_class)
        return [self.process, "-P", alias, *command_line.split_pool(self.arguments)[1]]

    def explain(self, tuned: Tuning | None = None, app: Any = None) -> Iterator[str]:
        """Yield what was resolved and where each value comes from, a line each, secrets masked.

        :param app: whose own settings are named, too, if they mean something else than in Celery.
        """
        for name, shown, source in self.environment:
            yield f"{name}={shown}  # {source}"
        for name, value in self.settings.in_force().items():
            if not self.environment.values.get(name):
                yield f"{name}={value}  # default"
        filled = tuned.settings() if tuned else {}
        for default in defaults.app_defaults(self.settings, self.pool_class):
            if default.name not in filled:
                yield f"{default.name}={default.value}  # celerykit, unless the app sets it: {default.reason}"
        yield from tuned.explain() if tuned else ()
        for meaning, value in meanings.set_by(app.conf) if app else ():
            shown = "..." if isinstance(value, dict) else value
            yield f"{meaning.name}={shown}  # the app; under celerykit: {meaning.text}"
        yield f"celery {' '.join(map(_shown, [*self.argv, *(tuned.options() if tuned else ())]))}  # arguments"


def _shown(argument: str) -> str:
    """Return an argument as it may be shown; ``--name=value`` is masked as a variable of that name is."""
    name, separator, value = argument.partition("=")
    if not separator:
        return envfile.mask("", argument)
    return f"{name}={envfile.mask(name.upper().replace('-', '_'), value)}"
