"""The ledger of jobs: what was accepted and what ran, written where no fault under test can reach."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """Have a folder for ledger and broker data, in memory: its syncs wait for no other test and no image build."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, ignore_cleanup_errors=True) as name:
        yield Path(name)


@dataclass(frozen=True)
class Entry:
    """One line: ``accepted``, ``refused``, ``start`` or ``done``."""

    kind: str
    job: str
    pid: int
    host: str
    at: float


@dataclass(frozen=True)
class Account:
    """What the ledger says of all jobs together."""

    accepted: frozenset[str]
    refused: frozenset[str]
    starts: Counter[str]
    done: Counter[str]

    @property
    def lost(self) -> frozenset[str]:
        """Jobs that were accepted and never done."""
        return self.accepted - set(self.done)

    @property
    def refused_but_done(self) -> frozenset[str]:
        """Jobs that were done although their sender got an error, which then says that nobody knows."""
        return self.refused & set(self.done)

    @property
    def running(self) -> frozenset[str]:
        """Jobs that started and are not done (or whose worker was killed)."""
        return frozenset(job for job, starts in self.starts.items() if starts > self.done[job])

    @property
    def started_twice(self) -> frozenset[str]:
        """Jobs that started more than once."""
        return frozenset(job for job, starts in self.starts.items() if starts > 1)

    @property
    def done_twice(self) -> frozenset[str]:
        """Jobs that ran to their end more than once."""
        return frozenset(job for job, ends in self.done.items() if ends > 1)

    def __str__(self) -> str:
        return (
            f"accepted {len(self.accepted)}, done {len(self.done)}, lost {len(self.lost)}, "
            f"started twice {len(self.started_twice)}, done twice {len(self.done_twice)}, "
            f"refused {len(self.refused)}, of these done {len(self.refused_but_done)}"
        )


class Ledger:
    """The ledger file of one test, in a folder that containers mount."""

    def __init__(self, folder: Path):
        self.folder = folder
        # Workers run as a user of their own.
        folder.chmod(0o777)
        (folder / "ledger").touch()
        (folder / "ledger").chmod(0o666)

    def clear(self) -> None:
        """Forget everything; for hosts that serve several tests."""
        (self.folder / "ledger").write_text("")

    def entries(self) -> list[Entry]:
        """Return all lines so far, in order."""
        lines = (line.split() for line in (self.folder / "ledger").read_text().splitlines())
        return [Entry(kind, job, int(pid), host, float(at)) for kind, job, pid, host, at in lines]

    def account(self) -> Account:
        """Add up what is written so far."""
        entries = self.entries()
        counts = {kind: Counter(entry.job for entry in entries if entry.kind == kind) for kind in ("start", "done")}
        sent = {
            kind: frozenset(entry.job for entry in entries if entry.kind == kind) for kind in ("accepted", "refused")
        }
        return Account(sent["accepted"], sent["refused"], counts["start"], counts["done"])

    def wait_running(self, jobs: int = 1, seconds: float = 60) -> None:
        """Wait until so many jobs run: a fault proves nothing when no job runs while it happens."""
        until(lambda: len(self.account().running) >= jobs, seconds, f"{jobs} running jobs", pause=0.05)

    def wait_accepted(self, more: int, seconds: float) -> None:
        """Wait until jobs are accepted after a fault as they were before it: more than so many."""
        before = len(self.account().accepted)
        until(lambda: len(self.account().accepted) > before + more, seconds, "jobs accepted after the fault")

    def first(self, kind: str, job: str, number: int = 1) -> float | None:
        """Return when ``job`` had its ``number``-th line of ``kind``, in seconds since the epoch."""
        times = [entry.at for entry in self.entries() if (entry.kind, entry.job) == (kind, job)]
        return times[number - 1] if len(times) >= number else None
