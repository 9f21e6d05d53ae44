"""Lines to the log's stream from where logging, which takes locks, must not be waited for."""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """Write one, from a signal handler or from any thread."""
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"celerykit: {text}\n".encode())
