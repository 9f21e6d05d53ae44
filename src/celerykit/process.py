"""A process that is ready to become Celery: its configuration, and the record of its pool's jobs."""

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
"""An app's ``worker_pool`` overrides ``-P prefork``, but not this alias (``celery.bin.worker.WorkersPool``)."""


@dataclass(frozen=True)
class Launch:
    """A process that is ready to become Celery."""

    process: str
    pool: str
    arguments: list[str]
    environment: Environment
    settings: settings.Settings
    pool_class: str = ""
    """The worker pool's alias for ``-P``: the requested one, else the one that fits; empty until it is chosen."""

    @property
    def requested_pool(self) -> str:
        """The alias in the arguments or the environment, an empty string if there is none."""
        return command_line.split_pool(self.arguments)[0] or self.environment.values.get("CELERY_WORKER_POOL", "")

    @property
    def profile_file(self) -> Path:
        """The file with the record of this pool's jobs: this worker's, else that of the pool's first worker."""
        values = self.environment.values
        file = history.path(values, self.pool)
        if os.access(file, os.F_OK):
            return file
        return history.path(values, environment.pool_behind(environment.config_dir(values), self.pool))

    @cached_property
    def seen(self) -> tuple[history.Record | None, list[Finding]]:
        """The record in :attr:`profile_file` at the start, or the finding why it is unusable."""
        if self.process != "worker" or self.settings.tune == settings.OFF:
            return None, []
        try:
            return history.read(self.profile_file, self.environment.values.get("CELERY_APP", "")), []
        except ConfigurationError as exc:
            return None, list(exc.findings)

    @property
    def argv(self) -> list[str]:
        """The arguments for Celery: the command, the pool kind, and the caller's options."""
        if self.process != "worker":
            return [self.process, *self.arguments]
        alias = POOL_ALIAS.get(self.pool_class, self.pool_class)
        return [self.process, "-P", alias, *command_line.split_pool(self.arguments)[1]]

    def explain(self, tuned: Tuning | None = None, app: Any = None) -> Iterator[str]:
        """Yield each resolved value with its source, a line each, secrets masked.

        :param app: its settings with another meaning than in Celery are listed, too.
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
    """Return an argument for the log; mask ``--name=value`` like a variable of that name."""
    name, separator, value = argument.partition("=")
    if not separator:
        return envfile.mask("", argument)
    return f"{name}={envfile.mask(name.upper().replace('-', '_'), value)}"
