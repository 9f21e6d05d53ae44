"""Run the command line: ``python -m celerykit`` and the console script."""

import os
import signal
import sys

TERM = signal.SIGTERM
SERVICES = ("worker", "beat", "flower")


def main() -> int:
    """Hand over to the command line and return its exit code; a probe takes the short way."""
    _end_by_term(0 if sys.argv[1:2] and sys.argv[1] in SERVICES else 128 + TERM)
    if sys.argv[1:2] == ["probe"]:
        from celerykit.health import probe

        return probe.main(sys.argv[2:])
    from celerykit import cli

    return cli.main(sys.argv[1:])


def _end_by_term(code: int) -> None:
    """Let a TERM end this process, until Celery has handlers of its own.

    PID 1 of a container would ignore it. The image starts it with TERM blocked, so that one which has come before this
    is waiting now.
    """
    # Not by an exception: whatever is imported then, as an app, may catch it.
    signal.signal(TERM, lambda *_: os._exit(code))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {TERM})


if __name__ == "__main__":
    sys.exit(main())
