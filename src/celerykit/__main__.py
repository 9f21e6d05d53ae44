"""Run the command line: ``python -m celerykit`` and the console script."""

import os
import signal
import sys

TERM = signal.SIGTERM
SERVICES = ("worker", "beat", "flower")


def main() -> int:
    """Run the command line and return its exit code; run a probe without the other imports."""
    _end_by_term(0 if sys.argv[1:2] and sys.argv[1] in SERVICES else 128 + TERM)
    if sys.argv[1:2] == ["probe"]:
        from celerykit.health import probe

        return probe.main(sys.argv[2:])
    from celerykit import cli

    return cli.main(sys.argv[1:])


def _end_by_term(code: int) -> None:
    """End this process at a TERM, until Celery installs handlers of its own.

    PID 1 of a container would ignore it. The image starts this process with TERM blocked, so that an earlier TERM is
    still pending here.
    """
    # Not by an exception: code under import, such as an app's, may catch it.
    signal.signal(TERM, lambda *_: os._exit(code))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {TERM})


if __name__ == "__main__":
    sys.exit(main())
