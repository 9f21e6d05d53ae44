"""Output at the terminal: a line with its time for each step, progress of long steps, errors with a remedy."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LOGS = Path(".cache/logs")
SIGN_OF_LIFE = 20.0
"""Seconds between two lines about a long step without a terminal."""


class SetupError(Exception):
    """A requirement is missing or broken; holds the remedy."""

    def __init__(self, problem: str, remedy: str):
        super().__init__(problem)
        self.remedy = remedy


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Print a step with its duration, once it has ended."""
    began = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"[{time.monotonic() - began:6.1f} s] failed: {text}")
        raise
    say(f"[{time.monotonic() - began:6.1f} s] {text}")


def output_of(*command: str, env: Mapping[str, str] | None = None) -> str | None:
    """Return the output of a quick command, None if it fails or is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def run(name: str, command: Sequence[str], remedy: str, env: Mapping[str, str] | None = None) -> None:
    """Run a long command; write its output to a log, and show its progress at the terminal.

    :raises SetupError: if it fails; the last lines of its output are printed before.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.log"
    code, tail = _watch(command, log, env)
    if code:
        say("\n".join(tail))
        raise SetupError(f"'{' '.join(command[:4])} ...' ended with exit code {code}; all it said is in {log}", remedy)


def _watch(command: Sequence[str], log: Path, env: Mapping[str, str] | None) -> tuple[int, list[str]]:
    tail: list[str] = []
    with (
        log.open("w", encoding="utf-8", errors="replace") as file,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env
        ) as process,
    ):
        began = reported = time.monotonic()
        for line in _lines(process):
            if line is not None:
                file.write(f"{line}\n")
                tail = [*tail[-29:], line]
            now = time.monotonic()
            if sys.stdout.isatty():
                _draw(now - began, tail[-1] if tail else "")
            elif now - reported > SIGN_OF_LIFE:
                reported = now
                say(f"           {now - began:4.0f} s so far: {(tail or [''])[-1][:100]}")
        _draw(None, "")
        return process.wait(), tail


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str | None]:
    """Yield the output's lines as they come, and None in each second without one."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line.decode(errors="replace").rstrip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=1.0)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        yield line


def _draw(elapsed: float | None, text: str) -> None:
    """Show the latest line of a running step in place, or remove it."""
    if not sys.stdout.isatty():
        return
    width = shutil.get_terminal_size().columns - 1
    shown = "" if elapsed is None else f"[{elapsed:6.1f} s] {text}"[:width]
    os.write(sys.stdout.fileno(), f"\r\033[2K{shown}".encode())
