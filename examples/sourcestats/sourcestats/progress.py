"""A progress bar: redrawn in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import TextIO

REDRAWN_EVERY = 0.1
LINE_EVERY = 2.0


class Bar:
    """Shows how much of ``total`` is done, as a context that leaves the cursor on a line of its own.

    :param clock: returns seconds.
    """

    def __init__(self, total: int, stream: TextIO, clock: Callable[[], float] = time.monotonic):
        self._total = total
        self._stream = stream
        self._clock = clock
        self._terminal = stream.isatty()
        self._start = clock()
        self._shown_at = self._start
        self._shown = -1
        self._done = 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._done = self._total
        if self._done != self._shown:
            self._write()
        if self._terminal:
            self._stream.write("\n")

    def show(self, done: int) -> None:
        """Note that ``done`` are done, and write it unless that was done a moment ago."""
        # What the counter says can be less for a moment: when its key is gone at the end, while a server restarts.
        self._done = max(done, self._done)
        if self._clock() - self._shown_at >= (REDRAWN_EVERY if self._terminal else LINE_EVERY):
            self._write()

    def _write(self) -> None:
        self._shown, self._shown_at = self._done, self._clock()
        text = self._text(self._shown_at - self._start)
        self._stream.write(f"\r{text}\x1b[K" if self._terminal else f"{text}\n")
        self._stream.flush()

    def _text(self, seconds: float) -> str:
        share = self._done / self._total if self._total else 1.0
        text = f"{self._done:,} / {self._total:,}  {int(share * 100):3}%  {seconds:.0f} s"
        if not self._terminal:
            return text
        # One column stays free: a terminal wraps a full line, and then it is not redrawn but repeated.
        width = min(40, shutil.get_terminal_size().columns - len(text) - 5)
        filled = round(share * max(0, width))
        return f"[{'#' * filled}{'.' * (width - filled)}]  {text}"
