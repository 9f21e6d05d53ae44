"""Ask a result backend for all that it may be asked for, and print the answers as JSON: ``python -m asking``."""

import json
import subprocess
import sys

from celery import chord, group
from others import add, app, fail, total

PATIENCE = 60
ELSEWHERE = "import sys, others; print(others.app.AsyncResult(sys.argv[1]).state)"


def answers():
    """Yield each question with its answer."""
    result = add.delay(2, 3)
    yield "value", result.get(timeout=PATIENCE)
    yield "state elsewhere", state_elsewhere(result.id)
    result.forget()
    yield "forgotten", state_elsewhere(result.id)
    failed = fail.delay("for a reason")
    yield "error", repr(failed.get(timeout=PATIENCE, propagate=False))
    yield "state", failed.state
    yield "traceback", failed.traceback.strip().splitlines()[-1]
    yield "group", group(add.s(number, number) for number in range(4))().get(timeout=PATIENCE)
    yield "chord", total_of_chord()


def total_of_chord():
    """Return the outcome of a chord, or why there is none."""
    try:
        return chord(add.s(number, number) for number in range(4))(total.s()).get(timeout=PATIENCE)
    except NotImplementedError as exc:  # the answer of a backend that has no chords
        return str(exc)


def state_elsewhere(job):
    """Return a job's state as another process sees it."""
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE, job], capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    app.set_current()
    print(json.dumps(dict(answers())))
