"""The app's own environment file: variables that the app itself reads, with values of any characters.

Only the kit reads the file, so its dialect need not suit a shell, systemd and Docker. The kit's own env files and the
environment override it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from celerykit import secretfile
from celerykit.config import envfile
from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "CELERYKIT_APP_ENV_FILE"
QUOTES = "\"'"


def read(path: Path, source: str) -> list[envfile.Line]:
    """Return the assignments of the file.

    A value is the text after the first ``=``, without one pair of quotes around it. No character in it is special.

    :param source: where the file is named, for messages.
    :raises ConfigurationError: if it cannot be read, or for each line that is no assignment; no value is shown.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as exc:
        remedy = "Name a file that is there" if isinstance(exc, FileNotFoundError) else secretfile.permit(path)
        raise ConfigurationError(_finding(path, source, f"cannot be read: {exc.strerror}", remedy)) from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(_finding(path, source, "is no UTF-8", "Save it as UTF-8")) from exc
    lines, findings = [], []
    for number, raw in enumerate(text.splitlines(), start=1):
        if not raw.strip() or raw.lstrip().startswith("#"):
            continue
        name, separator, value = raw.strip().removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not separator or not envfile.SAFE_NAME.fullmatch(name):
            findings.append(_no_line(f"{path}:{number}"))
        else:
            lines.append(envfile.Line(name, _bare(value), f"{path}:{number}"))
    if findings:
        raise ConfigurationError(*findings)
    return lines


def named(values: dict[str, str], sources: dict[str, str]) -> Iterator[envfile.Line]:
    """Yield the lines of the named file for variables that are set neither directly nor by a ``_FILE`` variable."""
    if not (path := values.get(VARIABLE)):
        return
    for line in read(Path(path), sources[VARIABLE]):
        if not values.get(line.name) and not values.get(f"{line.name}_FILE"):
            yield line


def _bare(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in QUOTES
    return value[1:-1] if is_quoted else value


def _no_line(source: str) -> Finding:
    remedy = "Write KEY=value on one line; a value of several lines goes into a file that the app reads"
    return Finding(VARIABLE, "", source, "not a KEY=value line", remedy)


def _finding(path: Path, source: str, problem: str, remedy: str) -> Finding:
    return Finding(VARIABLE, os.fspath(path), source, problem, remedy)
