"""What a fault has cost: counted from the ledger, which no fault reaches."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.rig.ledger import Ledger


@dataclass(frozen=True)
class Outcome:
    """The account of one run of a case."""

    events: int
    accepted: int
    lost: int
    started_twice: int
    done_twice: int
    left: int
    """Jobs that the broker still holds although nothing is to be done any more."""
    recovery: float
    slowest_recovery: float
    """Seconds from an event to the end of the last job that was accepted before it and not done: median and worst."""
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.events} events, accepted {self.accepted:,}, lost {self.lost}, started twice {self.started_twice}, "
            f"done twice {self.done_twice}, left {self.left}, recovery {self.recovery:.1f} s, "
            f"at most {self.slowest_recovery:.1f} s, in {self.seconds:.0f} s"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for the record."""
        return asdict(self)


def account(ledger: Ledger, events: Sequence[float], left: int, seconds: float) -> Outcome:
    """Add up a run whose events struck at these times, in seconds since the epoch."""
    told = ledger.account()
    times = recoveries(ledger, events) or [0.0]
    return Outcome(
        events=len(events),
        accepted=len(told.accepted),
        lost=len(told.lost),
        started_twice=len(told.started_twice),
        done_twice=len(told.done_twice),
        left=left,
        recovery=round(median(times), 2),
        slowest_recovery=round(max(times), 2),
        seconds=round(seconds, 1),
    )


def recoveries(ledger: Ledger, events: Sequence[float]) -> list[float]:
    """Return for each event the seconds until all jobs were done that had been accepted, lost ones aside."""
    accepted: dict[str, float] = {}
    done: dict[str, float] = {}
    for entry in ledger.entries():
        if entry.kind in {"accepted", "done"}:
            (accepted if entry.kind == "accepted" else done).setdefault(entry.job, entry.at)
    return [
        max((end - at for job, end in done.items() if accepted.get(job, end) <= at < end), default=0.0) for at in events
    ]
