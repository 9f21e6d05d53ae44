"""Whether a run of all tests is green: what failed once is tried again by itself, and listed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from console import SetupError, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from parts import Failure, Part, Run

LIST = Path(".cache/flaky.txt")
MOST = 10
"""Failures that may be noise: with more of them, something is broken."""
SHARES = {"containers": 0.6, "hosts": 1.0, "again": 0.2}
"""Of all the time; more in sum than there is, as hardly ever two of them are slow. No part comes after the hosts."""
LOGS = "See above; the log of each container, or the journal of the host, is beside its failure"


class Verdict:
    """Adds up the parts of a run.

    :param seconds: for all of them.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._errors: list[SetupError] = []
        self._runs: list[tuple[Part, Run]] = []
        self._flaky: list[Failure] = []

    def bound(self, name: str) -> float:
        """Return how many seconds a part may take: its share, and what is left."""
        return max(1.0, min(SHARES[name] * self._seconds, self._end - time.monotonic()))

    def attempt(self, step: Callable[[], None]) -> None:
        """Do a step whose failure does not keep the next one from being done."""
        try:
            step()
        except SetupError as exc:
            say(f"failed, the rest goes on: {exc}")
            self._errors.append(exc)

    def run(self, part: Part) -> None:
        """Run a part; what failed in it is judged at the end."""
        self._runs.append((part, part.run(self.bound(part.name))))

    def end(self) -> int:
        """Try again what failed, say what came of it, the flaky tests last, and return the exit code."""
        failures = [failure for _, run in self._runs for failure in run.failures.values()]
        too_many = len({failure.cause for failure in failures}) > MOST
        if too_many:
            say(f"{len(failures)} tests failed. More than {MOST} are no noise: none of them is run again.")
        for part, first in self._runs:
            self._judge(part, first, again=not too_many)
        for part, run in self._runs:
            say(f"{part.name}: {len(run.passed)} tests passed, in {run.seconds:.0f} s")
        for exc in self._errors:
            say(f"error: {exc}\nremedy: {exc.remedy}")
        self._list()
        return 1 if self._errors else 0

    def _judge(self, part: Part, first: Run, *, again: bool) -> None:
        if first.code is None:
            self._fail(
                f"the tests of {part.name} did not end within {first.seconds:.0f} s: {told(first)}",
                "Where one of them runs for long, it hangs: its stacks are above. Otherwise give them more time",
            )
        elif not first.is_whole:
            self._fail(f"the tests of {part.name} did not all run (exit code {first.code})", "See above")
        tests = [test for test, failure in first.failures.items() if failure.when != "collect"]
        passed: frozenset[str] = frozenset()
        if tests and again:
            say(f"once more, by themselves: {len(tests)} tests of {part.name} that failed")
            passed = part.run_again(tests, self.bound("again")).passed
        self._flaky += [first.failures[test] for test in tests if test in passed]
        broken = [test for test in tests if test not in passed]
        if broken:
            more = f" and {len(broken) - MOST} more" * (len(broken) > MOST)
            self._fail(f"failed{' twice' * again}: {', '.join(broken[:MOST])}{more}", LOGS)

    def _fail(self, problem: str, remedy: str) -> None:
        self._errors.append(SetupError(problem, remedy))

    def _list(self) -> None:
        text = listed(self._flaky)
        LIST.parent.mkdir(parents=True, exist_ok=True)
        LIST.write_text(text, encoding="utf-8")
        say(f"{text}(kept in {LIST})")


def told(run: Run) -> str:
    """Return how far a run came whose time was over."""
    begun = [f"{test} ran for {ago:.0f} s" for test, ago in run.running.items()]
    return ", ".join([f"{len(run.passed)} passed", f"{len(run.missing)} had no turn", *begun])


def listed(flaky: Sequence[Failure]) -> str:
    """Return the list of the tests that failed, and passed by themselves."""
    if not flaky:
        return "flaky tests: none\n"
    lines = [f"{one.test}\n    {one.at} {one.said}\n    {one.log}\n" for one in flaky]
    return f"flaky tests: {len(lines)}; each failed, then passed by itself, and is a fault to mend\n{''.join(lines)}"
