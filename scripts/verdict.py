"""The verdict on a run of all tests: each failed test runs again by itself, and flaky ones are listed."""

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
"""The most failures that count as noise: more of them show a real fault."""
SHARES = {"containers": 0.6, "hosts": 1.0, "again": 0.2}
"""Shares of the whole time; their sum exceeds 1, because two parts are seldom slow. The hosts are the last part."""
LOGS = "See above; the log of each container, or the journal of the host, is beside its failure"


class Verdict:
    """Collects the results of the parts of a run.

    :param seconds: the time limit of all parts together.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._errors: list[SetupError] = []
        self._runs: list[tuple[Part, Run]] = []
        self._flaky: list[Failure] = []

    def bound(self, name: str) -> float:
        """Return the time limit of a part in seconds: its share, or the remaining time if that is less."""
        return max(1.0, min(SHARES[name] * self._seconds, self._end - time.monotonic()))

    def attempt(self, step: Callable[[], None]) -> None:
        """Run a step; record its failure, so that the next step runs."""
        try:
            step()
        except SetupError as exc:
            say(f"failed, the rest goes on: {exc}")
            self._errors.append(exc)

    def run(self, part: Part) -> None:
        """Run a part; :meth:`end` judges its failures."""
        self._runs.append((part, part.run(self.bound(part.name))))

    def end(self) -> int:
        """Run the failed tests again, print the results, the flaky tests last, and return the exit code."""
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
                f"the tests of {part.name} did not end within {first.seconds:.0f} s: {describe(first)}",
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
            more = f" and {len(broken) - MOST} more" if len(broken) > MOST else ""
            self._fail(f"failed{' twice' if again else ''}: {', '.join(broken[:MOST])}{more}", LOGS)

    def _fail(self, problem: str, remedy: str) -> None:
        self._errors.append(SetupError(problem, remedy))

    def _list(self) -> None:
        text = listed(self._flaky)
        LIST.parent.mkdir(parents=True, exist_ok=True)
        LIST.write_text(text, encoding="utf-8")
        say(f"{text}(kept in {LIST})")


def describe(run: Run) -> str:
    """Return the progress of a run at its time-out, in words."""
    begun = [f"{test} ran for {ago:.0f} s" for test, ago in run.running.items()]
    return ", ".join([f"{len(run.passed)} passed", f"{len(run.missing)} had no turn", *begun])


def listed(flaky: Sequence[Failure]) -> str:
    """Return the list of the tests that passed in their second run."""
    if not flaky:
        return "flaky tests: none\n"
    lines = [f"{one.test}\n    {one.at} {one.message}\n    {one.log}\n" for one in flaky]
    return f"flaky tests: {len(lines)}; each failed, then passed by itself, and is a fault to mend\n{''.join(lines)}"
