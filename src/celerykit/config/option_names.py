"""The option names of the installed Celery and Flower, read from their own code."""

from __future__ import annotations

import difflib
from functools import cache
from typing import TYPE_CHECKING, Any

from celerykit.config import celery_cli

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Global options under their short names override the prefixed ones (``envvar=`` in ``celery.bin.celery``): a stray
#: ``APP`` in the environment would start another app.
UNPREFIXED = {
    "APP": "CELERY_APP",
    "BROKER_URL": "CELERY_BROKER_URL",
    "RESULT_BACKEND": "CELERY_RESULT_BACKEND",
    "LOADER": "CELERY_LOADER",
    "CONFIG_MODULE": "CELERY_CONFIG_MODULE",
}

#: Read by Celery 5.7 itself and not by its command line: ``celery.app.utils.Settings``, ``celery.loaders``,
#: ``celery.concurrency``, ``celery.worker.state`` and ``celery.apps.worker``.
READ_BY_CELERY = frozenset(
    {
        "CELERY_BENCH",
        "CELERY_BENCH_EVERY",
        "CELERY_BROKER_READ_URL",
        "CELERY_BROKER_URL",
        "CELERY_BROKER_WRITE_URL",
        "CELERY_CONFIG_MODULE",
        "CELERY_CUSTOM_WORKER_POOL",
        "CELERY_LOADER",
        "CELERY_RDBSIG",
        "CELERY_RDB_HOST",
        "CELERY_RDB_PORT",
        "CELERY_RESULT_BACKEND",
        "CELERY_SKIP_CHECKS",
        "CELERY_TRACE_APP",
        "CELERY_WORKER_REVOKES_MAX",
        "CELERY_WORKER_REVOKE_EXPIRES",
        "CELERY_WORKER_SUCCESSFUL_EXPIRES",
        "CELERY_WORKER_SUCCESSFUL_MAX",
    }
)

#: Old names of the kit's variables, each with its new name.
RENAMED = {"CELERYKIT_POOLS": "CELERYKIT_POOL_KINDS"}


@cache
def celery_options() -> dict[str, Any]:
    """Return the click parameter of each ``CELERY_*`` variable of Celery's own commands.

    Imports Celery: green pools must have patched the standard library before.
    """
    return _options(celery_cli.stock())


def _options(celery: Any) -> dict[str, Any]:
    options = {f"CELERY_{param.name}".upper(): param for param in celery.params}
    for command in celery.commands.values():
        options |= {f"CELERY_{command.name}_{param.name}".upper(): param for param in command.params if param.name}
    return options


def _is_of_plugin(name: str) -> bool:
    """Say whether another package's command reads a variable; import those commands only if one has its prefix."""
    begins = tuple(f"CELERY_{plugin}_".upper().replace("-", "_") for plugin in celery_cli.plugins())
    return name.startswith(begins) and name in _options(celery_cli.whole())


@cache
def flower_options() -> frozenset[str]:
    """Return the ``FLOWER_*`` variables of the installed Flower, none where it is not installed."""
    try:
        import flower.options
        from tornado.options import options
    except ImportError:
        return frozenset()
    del flower.options  # importing it defines the options
    return frozenset(f"FLOWER_{name}".upper().replace("-", "_") for name in options)


def is_known(name: str) -> bool:
    """Say whether Celery, Flower or the kit reads the variable ``name``; accept every name of another program."""
    from celerykit.config import settings

    if name.startswith(settings.PREFIX):
        return name in settings.names()
    if name.startswith("CELERY_"):
        return name in READ_BY_CELERY or name in celery_options() or _is_of_plugin(name)
    if name.startswith("FLOWER_"):
        return not flower_options() or name in flower_options() or name == "FLOWER_UNAUTHENTICATED_API"
    return True


def nearest(name: str) -> str | None:
    """Return the new name of a renamed variable, else the known variable that it most resembles."""
    from celerykit.config import settings

    if name in RENAMED:
        return RENAMED[name]
    return closest(name, [*celery_options(), *READ_BY_CELERY, *flower_options(), *settings.names()])


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that ``name`` most resembles, if any does."""
    return next(iter(difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)), None)
