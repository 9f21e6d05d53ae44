"""The probe of a process: live, ready or started, by its state file, in a few milliseconds and without Celery."""

from __future__ import annotations

import os
import sys
from itertools import pairwise

from celerykit import instance
from celerykit.health import statefile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = "usage: celerykit probe {worker [POOL] | beat | any} {--live | --ready | --started}"
EX_USAGE = 2
PROCESSES = "/proc"


def main(argv: Sequence[str]) -> int:
    """Print the answer with its reason; return 0 for yes, 1 for no and 2 for an invalid question."""
    questions = {"--live": "live", "--ready": "ready", "--started": "started"}
    chosen = [questions[word] for word in argv if word in questions]
    process, *pool = [word for word in argv if word not in questions] or [""]
    if len(chosen) != 1 or process not in {"worker", "beat", "any"} or len(pool) > (process == "worker"):
        print(USAGE, file=sys.stderr)
        return EX_USAGE
    if process == "any":
        answer, reason = probe_any(chosen[0])
    else:
        answer, reason = probe(process, pool[0] if pool else "default", chosen[0])
    print(f"{'' if answer else 'not '}{chosen[0]}: {reason}")
    return 0 if answer else 1


def probe(process: str, pool: str, question: str) -> tuple[bool, str]:
    """Answer ``live``, ``ready`` or ``started`` about the ``worker`` of a pool, or about ``beat``.

    :returns: the answer, and the reason in words.
    """
    return statefile.judge(statefile.read(statefile.path(instance.state_folder(os.environ), process, pool)), question)


def probe_any(question: str) -> tuple[bool, str]:
    """Answer the question about each worker and beat that runs here; yes if none runs.

    :returns: the answer, and the reason in words.
    """
    answers = [statefile.judge(state, question) for state in _states() if statefile.runs(state.pid)]
    if answers:
        return min(answers, key=lambda answer: answer[0])
    if any(map(_is_ours, os.listdir(PROCESSES))):
        return statefile.judge(None, question)
    return True, "neither a worker nor beat runs here"


def _states() -> list[statefile.State]:
    """Return the states of all processes with a state file."""
    folder = instance.state_folder(os.environ)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    files = [name for name in names if name.endswith(".json") and name.startswith(("worker-", "beat."))]
    return [state for name in files if (state := statefile.read(f"{folder}/{name}"))]


def _is_ours(pid: str) -> bool:
    """Say whether a process was started as a worker or beat of the kit; it may have no state file yet."""
    try:
        with open(f"{PROCESSES}/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            words = file.read().split("\0")
    except OSError:
        return False
    commands = [then for word, then in pairwise(words) if os.path.basename(word) == "celerykit"]
    return "worker" in commands or "beat" in commands
