"""The files of Celery's own init scripts and units: ``/etc/default/celeryd`` and ``/etc/conf.d/celery``.

They are shell code for ``celery multi``. The kit reads the lines with a meaning here, and its own env files override
them. It refuses every other line by name, so that nobody relies on a line that nothing reads.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celerykit import instance
from celerykit.config.envfile import SAFE_NAME, Line, mask
from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FILES = tuple(map(instance.named, ("default/celeryd", "default/celerybeat", "conf.d/celery")))
"""The files, relative to the parent of the folder of the kit's own env files."""

NODES = "CELERYD_NODES"
NODE_PREFIX = "celery"
"""``celery multi start 3`` calls its nodes celery1 to celery3 (``celery.apps.multi``)."""

OPTIONS = {"worker": "CELERYD_OPTS", "beat": "CELERYBEAT_OPTS"}
RENAMED = {
    "worker": {"CELERYD_LOG_LEVEL": "CELERY_WORKER_LOGLEVEL", "CELERYD_CHDIR": "CELERY_WORKDIR"},
    "beat": {"CELERYBEAT_LOG_LEVEL": "CELERY_BEAT_LOGLEVEL", "CELERYBEAT_CHDIR": "CELERY_WORKDIR"},
}
OWNER = instance.named("celery")
USERS = ("CELERYD_USER", "CELERYD_GROUP", "CELERYBEAT_USER", "CELERYBEAT_GROUP")

NO_PID_FILE = "nothing writes or reads a pid file; remove the line"
NO_LOG_FILE = "the log goes to standard error: to the journal, to svlogd or to supervisor; remove the line"
NO_CREATION = "folders are made with their owners at each start; remove the line"
NO_MULTI = "celery multi is not used: each pool is a process of its own in the foreground; remove the line"
NO_SU = "no su is used, which accounts without a shell do not allow; remove the line"
MEANINGLESS = {
    "CELERY_BIN": "the kit runs the Celery of its own virtualenv; remove the line",
    "CELERYD_MULTI": NO_MULTI,
    "CELERYD_PID_FILE": NO_PID_FILE,
    "CELERYBEAT_PID_FILE": NO_PID_FILE,
    "CELERYD_LOG_FILE": NO_LOG_FILE,
    "CELERYBEAT_LOG_FILE": NO_LOG_FILE,
    "CELERY_CREATE_DIRS": NO_CREATION,
    "CELERY_CREATE_RUNDIR": NO_CREATION,
    "CELERY_CREATE_LOGDIR": NO_CREATION,
    "CELERYD_SU": NO_SU,
    "CELERYD_SU_ARGS": NO_SU,
    "CELERYBEAT_SU": NO_SU,
    "CELERYBEAT_SU_ARGS": NO_SU,
}

#: The short options of ``celery worker`` and ``celery beat`` in such files, by their long names.
SHORT = {
    "-A": "app",
    "-B": "beat",
    "-c": "concurrency",
    "-D": "detach",
    "-E": "task-events",
    "-f": "logfile",
    "-I": "include",
    "-l": "loglevel",
    "-n": "hostname",
    "-O": "optimization",
    "-P": "pool",
    "-Q": "queues",
    "-s": "schedule",
    "-S": "statedb",
    "-X": "exclude-queues",
}
ALIASES = {"discard": "purge", "events": "task-events", "schedule-filename": "schedule"}
NO_OPTION = {
    "app": "name the app in CELERY_APP",
    "beat": "run beat as a service of its own",
    "detach": "the init system puts it in the background; remove the option",
    "gid": NO_SU,
    "logfile": NO_LOG_FILE,
    "pidfile": NO_PID_FILE,
    "uid": NO_SU,
}


@dataclass(frozen=True)
class Assignment:
    """An assignment with the value that the shell would give it."""

    name: str
    value: str
    source: str


def read(etc: Path, process: str, pool: str) -> list[Line]:
    """Return the assignments for a process in the files under ``etc``, with the kit's own names.

    :param process: ``worker``, ``beat`` or ``flower``.
    :raises ConfigurationError: for each line that only a shell can evaluate, or that has no meaning here.
    """
    lines: list[Line] = []
    findings: list[Finding] = []
    for item in _assignments(etc, findings):
        lines += _translate(item, process, pool, findings)
    if findings:
        raise ConfigurationError(*findings)
    return lines


def nodes(etc: Path) -> list[str]:
    """Return the pools in ``CELERYD_NODES``, none where it is not set."""
    values = [item.value for item in _assignments(etc, []) if item.name == NODES]
    names = values[-1].split() if values else []
    if len(names) == 1 and names[0].isdigit():
        return [f"{NODE_PREFIX}{number}" for number in range(1, int(names[0]) + 1)]
    return names


def _assignments(etc: Path, findings: list[Finding]) -> Iterator[Assignment]:
    for path in (etc / name for name in FILES):
        if path.is_file():
            yield from _parse(path.read_text(encoding="utf-8"), str(path), findings)


def _parse(text: str, path: str, findings: list[Finding]) -> Iterator[Assignment]:
    for number, line in _logical_lines(text):
        source = f"{path}:{number}"
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            words = [""]
        for word in words[1:] if words[:1] == ["export"] else words:
            name, separator, value = word.partition("=")
            if not separator or not SAFE_NAME.fullmatch(name) or re.search(r"[$`\n]", value):
                problem = "only a shell can evaluate it"
                remedy = "Write NAME=value with the value itself, or say it in /etc/celery"
                findings.append(Finding(re.split(r"[=\s]", line.strip())[0], "", source, problem, remedy))
                break
            yield Assignment(name, value, source)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number, joined with its continuation lines after a backslash."""
    held, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        start = start or number
        if line.endswith("\\"):
            held += line[:-1]
            continue
        yield start, held + line
        held, start = "", 0
    if held:
        yield start, held


def _translate(item: Assignment, process: str, pool: str, findings: list[Finding]) -> list[Line]:
    if item.name in MEANINGLESS or (item.name in USERS and item.value != OWNER):
        remedy = MEANINGLESS.get(item.name) or f"processes run as user {OWNER}; remove the line, and give it the files"
        findings.append(_without_meaning(item, remedy))
    elif item.name == OPTIONS.get(process):
        return list(_options(item, process, pool, findings))
    elif name := RENAMED.get(process, {}).get(item.name):
        return [Line(name, item.value, item.source)]
    elif not item.name.startswith(("CELERYD_", "CELERYBEAT_")):
        return [Line(item.name, item.value, item.source)]
    elif item.name not in _for_somebody():
        findings.append(_without_meaning(item, "no script of Celery's reads it either; remove the line"))
    return []


def _for_somebody() -> set[str]:
    """Return the names that have a meaning for one of the processes."""
    return {NODES, *USERS, *OPTIONS.values(), *(name for names in RENAMED.values() for name in names)}


def _options(item: Assignment, process: str, pool: str, findings: list[Finding]) -> Iterator[Line]:
    """Yield the options for ``pool``: those of all nodes, then its own, in the order of ``celery multi``."""
    of_node = []
    for word, node, value in _split(shlex.split(item.value)):
        long = SHORT.get(word, word.removeprefix("--"))
        long = ALIASES.get(long, long)
        if long in NO_OPTION:
            findings.append(_without_meaning(Assignment(item.name, word, item.source), NO_OPTION[long]))
        elif word.startswith("-") and (word.startswith("--") or word in SHORT):
            line = Line(f"CELERY_{process}_{long}".upper().replace("-", "_"), value, item.source)
            if not node:
                yield line
            elif pool in node.split(","):
                of_node.append(line)
        else:
            problem, remedy = "no option of Celery", "Write --name=value"
            findings.append(Finding(item.name, word, item.source, problem, remedy))
    yield from of_node


def _split(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield ``(option, nodes, value)`` of ``--time-limit=300``, ``-c 8``, ``-c8``, ``-c:w1 3`` or a switch (true)."""
    rest = list(words)
    while rest:
        word, separator, value = rest.pop(0).partition("=")
        if not separator:
            value = rest.pop(0) if rest and not rest[0].startswith("-") else "true"
            if re.match(r"-\w[^:]", word) and not word.startswith("--"):  # -c8
                rest[:0] = [value] if value != "true" else []
                word, value = word[:2], word[2:]
        option, _, node = word.partition(":")
        yield option, node, value


def _without_meaning(item: Assignment, remedy: str) -> Finding:
    return Finding(
        item.name,
        mask(item.name, item.value),
        item.source,
        "has no meaning under celerykit",
        remedy[0].upper() + remedy[1:],
    )
