"""The check of env files that are not in place yet, with the app that is to run under them.

The input is a JSON document:

- ``folder``: the future folder of the files
- ``files``: their texts by name; if empty, the check reads the files in place
- ``processes``: the processes to check, such as ``["worker", "default"]``
- ``connect``: whether to log in to the broker and the result backend
- ``units``: drop-ins and their units, by name
- ``origins``: the origin of each file, for messages
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celerykit import launch
from celerykit.checks import connectivity, dropins, job_loss
from celerykit.config import settings
from celerykit.config.environment import DEFAULT_POOL
from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PATIENCE = 90.0
"""The most seconds for the import of the app, as in the units."""
INHERITED = ("HOME", "LANG", "LOGNAME", "PATH", "TZ", "USER")
"""The variables that a process of a unit has, too; it does not get the caller's Celery variables."""


def judge(document: dict[str, Any]) -> list[Finding]:
    """Return the findings about possible job loss.

    :raises ConfigurationError: if a process would not start, or a broker or result backend would refuse it.
    """
    with tempfile.TemporaryDirectory(prefix="celerykit-") as name:
        folder = Path(name)
        _write(document, folder)
        place = folder if document["files"] else Path(document["folder"])
        with ThreadPoolExecutor(os.cpu_count()) as several:
            answers = list(several.map(lambda process: _judge_apart(process, place, document), document["processes"]))
    advice, refused = ([item for answer in answers for item in answer[kind]] for kind in (0, 1))
    refused += dropins.judge(document.get("units", {}))
    if refused:
        raise ConfigurationError(*_traced(refused, document))
    return _traced(advice, document)


def judge_process(process: str, pool: str, *, connect: bool) -> tuple[list[Finding], list[Finding]]:
    """Return findings about job loss, and about errors that prevent the start. Call it once in a process."""
    try:
        ready, _ = launch.prepare(process, os.environ, pool, [])
        launch.enter(ready)
        app = launch.load_app(ready)
        app.finalize()
    except ConfigurationError as exc:
        return [], list(exc.findings)
    advice = list(job_loss.judge(app, ready.settings)) if process == "worker" else []
    return advice, list(connectivity.refusals(app, ready.environment.sources)) if connect else []


def main(process: str, pool: str = DEFAULT_POOL, connect: str = "") -> int:
    """Check one process and print the answer; output of the app's import goes to standard error."""
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    judgement = judge_process(process, pool, connect=bool(connect))
    answer.write(json.dumps([[finding.as_dict() for finding in findings] for findings in judgement]))
    answer.close()
    return 0


def _write(document: dict[str, Any], folder: Path) -> None:
    """Write the files, readable for this user alone, and redirect their references to each other to ``folder``."""
    for name, text in document["files"].items():
        content = text
        for other in document["files"]:
            content = content.replace(f"={document['folder']}/{other}\n", f"={folder}/{other}\n")
        (folder / name).write_text(content, encoding="utf-8")


def _judge_apart(process: Sequence[str], folder: Path, document: dict[str, Any]) -> tuple[list[Finding], list[Finding]]:
    """Check a process in a child process: a process can import an app with one environment only."""
    command = [sys.executable, "-m", "celerykit.checks.staged", process[0], [*process, DEFAULT_POOL][1]]
    environ = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environ[f"{settings.PREFIX}CONFIG_DIR"] = str(folder)
    try:
        answer = subprocess.run(
            [*command, *(["connect"] if document["connect"] else [])],
            stdout=subprocess.PIPE,
            env=environ,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        advice, refused = json.loads(answer.stdout.replace(str(folder), document["folder"]))
    except (subprocess.TimeoutExpired, ValueError) as exc:
        problem = "not imported within 90 s" if isinstance(exc, subprocess.TimeoutExpired) else "ends the process"
        app = Finding("CELERY_APP", "", " ".join(process), problem, "See the output of celerykit check")
        return [], [app]
    return [Finding(**item) for item in advice], [Finding(**item) for item in refused]


def _traced(findings: Iterable[Finding], document: dict[str, Any]) -> list[Finding]:
    """Return each finding once, with the origin of the first file in its source."""
    traced = []
    for finding in dict.fromkeys(findings):
        source = finding.source
        places = {source.find(f"/{file}"): origin for file, origin in document.get("origins", {}).items()}
        first = next((places[at] for at in sorted(places) if at >= 0), None)
        traced.append(replace(finding, source=f"{source}, from {first}") if first else finding)
    return traced


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
