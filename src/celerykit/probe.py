"""Is a process alive, is it ready: answered from its state file, in a few milliseconds and without Celery."""

from __future__ import annotations

import os
import sys

from celerykit import statefile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = "usage: celerykit probe {worker [POOL] | beat} {--live | --ready}"
EX_USAGE = 2


def main(argv: Sequence[str]) -> int:
    """Print the answer with its reason; return 0 for yes, 1 for no and 2 if the question is none."""
    questions = {"--live": "live", "--ready": "ready"}
    asked = [questions[word] for word in argv if word in questions]
    process, *pool = [word for word in argv if word not in questions] or [""]
    if len(asked) != 1 or process not in {"worker", "beat"} or len(pool) > (process == "worker"):
        print(USAGE, file=sys.stderr)
        return EX_USAGE
    answer, reason = probe(process, pool[0] if pool else "default", asked[0])
    print(f"{'' if answer else 'not '}{asked[0]}: {reason}")
    return 0 if answer else 1


def probe(process: str, pool: str, question: str) -> tuple[bool, str]:
    """Answer ``live`` or ``ready`` about the ``worker`` of a pool, or about ``beat``.

    :returns: the answer, and a reason for people.
    """
    return statefile.judge(statefile.read(statefile.path(statefile.folder(os.environ), process, pool)), question)
