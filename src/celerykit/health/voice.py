"""Lines on standard error from code that must not wait for the locks of :mod:`logging`."""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """Write a line, from a signal handler or from any thread."""
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"celerykit: {text}\n".encode())
