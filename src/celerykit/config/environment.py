"""The variables of a process: the inherited environment over its env files, with secrets read and bad names refused."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from celerykit.config import app_environment, envfile, legacy, option_names, settings
from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

INHERITED = "environment"
ARGUMENTS = "arguments"
NOTHING: Mapping[str, str] = MappingProxyType({})
SECRET_FILE = re.compile(r"(CELERY|FLOWER)_\w+_FILE|CELERYKIT_RESULT_BACKEND_FILE")
DEFAULT_POOL = "default"
POOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Environment:
    """Resolved variables and where each comes from."""

    values: dict[str, str]
    sources: dict[str, str]

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Yield ``(name, value fit to be shown, source)`` of every variable of Celery, Flower and the kit."""
        for name in sorted(self.values):
            if name.startswith(("CELERY_", "FLOWER_", settings.PREFIX)):
                yield name, envfile.mask(name, self.values[name]), self.sources[name]


def config_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder of the env files."""
    return Path(environ.get(settings.PREFIX + "CONFIG_DIR") or settings.CONFIG_DIR)


def env_file(pool: str) -> str:
    """Return the name of a pool's env file."""
    return f"worker-{pool}.env"


def pool_of(file: Path) -> str:
    """Return the pool whose env file this is."""
    return file.stem.removeprefix("worker-")


def pool_behind(folder: Path, worker: str) -> str:
    """Return the pool of a worker, from the target of its env file if that is a link."""
    return pool_of((folder / env_file(worker)).resolve())


def pools(folder: Path) -> list[str]:
    """Return the pools with an env file in ``folder``; without any, the names in ``CELERYD_NODES``."""
    named = sorted(map(pool_of, folder.glob(env_file("*"))))
    return named or legacy.nodes(folder.parent)


def of_pools(folder: Path) -> Iterator[tuple[str, Environment]]:
    """Yield each pool's variables from the files in ``folder``; skip a pool with errors, its own check names them."""
    for name in pools(folder):
        with contextlib.suppress(ConfigurationError):
            yield name, resolve("worker", {f"{settings.PREFIX}CONFIG_DIR": str(folder)}, name)


def resolve(
    process: str, environ: Mapping[str, str], pool: str = DEFAULT_POOL, options: Mapping[str, str] = NOTHING
) -> Environment:
    """Return the variables of ``process`` (``worker``, ``beat`` or ``flower``).

    A later source overrides an earlier one: the app's own environment file, the files of
    :mod:`celerykit.config.legacy`, ``celery.env``, then ``worker-<pool>.env``, ``beat.env`` or ``flower.env``, then
    ``environ``, then ``options``.

    :raises ConfigurationError: for invalid lines, secrets and unprefixed names.
    """
    environment = gather(process, environ, pool, options)
    _refuse_unprefixed(environment.values, environment.sources)
    return read_secrets(environment)


def gather(
    process: str, environ: Mapping[str, str], pool: str = DEFAULT_POOL, options: Mapping[str, str] = NOTHING
) -> Environment:
    """Return the variables as :func:`resolve` does, with secrets still in their files; for any other program, too.

    :raises ConfigurationError: for invalid lines.
    """
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    for line in _lines(process, environ, pool):
        values[line.name], sources[line.name] = line.value, line.source
    for name, value in environ.items():
        # Compose passes an unset variable as an empty one; Celery treats both as unset.
        if value or name not in values:
            values[name], sources[name] = value, INHERITED
    for name, value in options.items():
        values.pop(f"{name}_FILE", None)
        values[name], sources[name] = value, ARGUMENTS
    for line in app_environment.named(values, sources):
        values[line.name], sources[line.name] = line.value, line.source
    return Environment(values, sources)


def read_secrets(environment: Environment) -> Environment:
    """Return the environment with each variable of :data:`SECRET_FILE` replaced by the file's content.

    The file's last newline is not part of the secret.

    :raises ConfigurationError: if a file is missing, unreadable or empty, or the value is given twice.
    """
    values, sources = dict(environment.values), dict(environment.sources)
    findings = []
    for name in filter(SECRET_FILE.fullmatch, environment.values):
        path, source = values.pop(name), sources.pop(name)
        if not path:
            continue
        target = name.removesuffix("_FILE")
        try:
            values[target] = _read_secret(path, values.get(target, ""))
            sources[target] = f"{path}, named by {name} ({source})"
        except PermissionError:
            findings.append(Finding(name, path, source, *_closed(path)))
        except ValueError as exc:
            findings.append(Finding(name, path, source, str(exc), f"Put the value of {target} into that file"))
    if findings:
        raise ConfigurationError(*findings)
    return Environment(values, sources)


def unknown_names(environment: Environment) -> tuple[list[Finding], list[Finding]]:
    """Return the misspelt names as ``(errors, warnings)``.

    They are errors in the kit's own files; in the app's file and the inherited environment they may be the app's own.
    A name that the kit has renamed is an error everywhere: without its value the worker would run otherwise.
    """
    errors: list[Finding] = []
    warnings: list[Finding] = []
    for name, shown, source in environment:
        if option_names.is_known(name):
            continue
        near = option_names.nearest(name)
        renamed = name in option_names.RENAMED
        remedy = f"Did you mean {near}?" if near else "Remove it"
        problem = "no option of the installed Celery, Flower or celerykit"
        if renamed:
            problem, remedy = "the kit has renamed it", f"Say {near} instead"
        apps = source.startswith(f"{environment.values.get(app_environment.VARIABLE) or ' '}:")
        inherited = apps or source == INHERITED or source.endswith(f"({INHERITED})")
        (warnings if inherited and not renamed else errors).append(Finding(name, shown, source, problem, remedy))
    return errors, warnings


def unfit_values(environment: Environment, process: str) -> list[Finding]:
    """Return the values that the installed Celery's option types refuse."""
    findings = []
    prefix = f"CELERY_{process}_".upper()
    for name, param in option_names.celery_options().items():
        value = environment.values.get(name, "")
        if not value or not name.startswith(prefix):
            continue
        if problem := unfit_value(param, value):
            findings.append(Finding(name, envfile.mask(name, value), environment.sources[name], problem, remedy(param)))
    return findings


def unfit_value(param: Any, value: str) -> str:
    """Return the reason why an option's type refuses a value, an empty string if it accepts it."""
    import click

    try:
        _convert(param, value)
    except (click.BadParameter, ValueError) as exc:
        return str(getattr(exc, "message", exc)).rstrip(".")
    return ""


def remedy(param: Any) -> str:
    """Return the first sentence of Celery's help on an option."""
    help_text = getattr(param, "help", None) or "See 'celery worker --help'"
    return " ".join(help_text.split()).partition(". ")[0].rstrip(".")


def _convert(param: Any, value: str) -> None:
    """Apply an option's own type; types that need the loaded app are left to Celery."""
    import click

    kind: Any = param.type
    if param.name == "concurrency":  # older releases accept a number only; the kit has replaced "auto" by one
        if not (value.isdigit() or value == "auto"):
            raise ValueError("neither a whole number nor 'auto'")
    elif isinstance(kind, click.Choice):
        if value.lower() not in {str(choice).lower() for choice in kind.choices}:
            raise ValueError(f"not one of {', '.join(map(str, kind.choices))}")
    elif isinstance(kind, (click.types.IntParamType, click.types.FloatParamType, click.types.BoolParamType)):
        kind.convert(value, None, None)  # type: ignore[arg-type]


def _lines(process: str, environ: Mapping[str, str], pool: str) -> Iterable[envfile.Line]:
    folder = config_dir(environ)
    files = {"worker": [env_file(pool)], "beat": ["beat.env"], "flower": ["flower.env"]}.get(process, [])
    if process == "worker":
        _require_pool(folder, pool)
    yield from legacy.read(folder.parent, process, pool)
    for path in (folder / name for name in ("celery.env", *files)):
        if path.exists():
            yield from envfile.read(path)


def _require_pool(folder: Path, pool: str) -> None:
    """Refuse a misspelt pool: it would start without options. Where no pool has a file, accept any name."""
    names = pools(folder)
    if POOL_NAME.fullmatch(pool) and (not names or pool in names):
        return
    finding = Finding(
        "POOL",
        pool,
        "command line",
        f"no file {folder}/{env_file(pool)}",
        f"Pools with a file: {', '.join(names) or 'none'}. Name one of them, or write that file",
    )
    raise ConfigurationError(finding)


def _refuse_unprefixed(values: Mapping[str, str], sources: Mapping[str, str]) -> None:
    findings = [
        Finding(
            name,
            envfile.mask(name, values[name]),
            sources[name],
            f"Celery reads this name before {prefixed}, from any source",
            f"Unset it, and use {prefixed}",
        )
        for name, prefixed in option_names.UNPREFIXED.items()
        if values.get(name)
    ]
    if findings:
        raise ConfigurationError(*findings)


def _read_secret(path: str, direct: str) -> str:
    if direct:
        raise ValueError("the value is also given directly, and only one of the two can hold")
    try:
        secret = Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except PermissionError:
        raise
    except OSError as exc:
        raise ValueError(f"the file cannot be read ({os.strerror(exc.errno or 0)})") from exc
    if not secret.strip():
        raise ValueError("the file is empty")
    return secret


def _closed(path: str) -> tuple[str, str]:
    """Return the reason why this user may not read a file, and the remedy."""
    visible = next(entry for entry in (Path(path), *Path(path).parents) if _can_be_seen(entry))
    status = visible.stat()
    owner, group = status.st_uid, status.st_gid
    problem = f"user {os.geteuid()} may not read it: {visible} is open to user {owner} and group {group} alone"
    if not status.st_mode & stat.S_IRGRP:
        return problem.replace(f" and group {group}", ""), f"Run this process as user {owner}, or hand the file over"
    add = f"in Compose, group_add: ['{group}']; by hand, docker run --group-add {group}; on a host, usermod --groups"
    return problem, f"Put the user of this process into group {group} ({add})"


def _can_be_seen(path: Path) -> bool:
    with contextlib.suppress(OSError):
        path.stat()
        return True
    return False
