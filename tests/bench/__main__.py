"""``make bench``: measure each cell that has no result yet, and write the record and the page when all have."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import measure, page
from tests.bench.cells import CELLS
from tests.bench.results import Result, Round

if TYPE_CHECKING:
    from tests.bench.cells import Cell

UNFINISHED = Path(".cache/bench")
"""Results of the run under way, a file a cell."""


def main() -> int:
    """Measure one cell, or all that are left, and return 2 if there is no such cell."""
    wanted = os.environ.get("CELERYKIT_BENCH")
    if wanted and wanted not in CELLS:
        print(f"error: there is no cell {wanted}\nremedy: take one of {', '.join(CELLS)}", file=sys.stderr)
        return 2
    versions = measure.versions()
    if wanted:
        print(page.table({wanted: measured(CELLS[wanted], versions)}).partition("\nNot")[0])
        return 0
    finished = {name: finished_cell(cell, versions) for name, cell in CELLS.items()}
    page.RECORD.write_text(json.dumps({name: result.as_dict() for name, result in finished.items()}, indent=1) + "\n")
    page.PAGE.write_text(page.page(), encoding="utf-8")
    shutil.rmtree(UNFINISHED)
    print(page.table(finished))
    return 0


def finished_cell(cell: Cell, versions: dict[str, str]) -> Result:
    """Return the result of a cell: that of the run under way, if it was of the same images, or a new one."""
    file = UNFINISHED / f"{cell.name}.json"
    if file.exists():
        result = Result(**json.loads(file.read_text(encoding="utf-8")))
        if result.versions == versions:
            say(f"{cell.name}: measured already")
            return result
    result = measured(cell, versions)
    UNFINISHED.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result.as_dict()), encoding="utf-8")
    return result


def measured(cell: Cell, versions: dict[str, str]) -> Result:
    """Measure a cell: its sides in turn, in each round in the other order."""
    began, load = time.monotonic(), os.getloadavg()[0]
    rounds = []
    for number in range(cell.rounds):
        sides = cell.sides if number % 2 == 0 else tuple(reversed(cell.sides))
        measured: Round = {side.name: cell.measure(side) for side in sides}
        rounds.append({side.name: measured[side.name] for side in cell.sides})
        say(f"{cell.name} {number + 1}/{cell.rounds}: {shown(rounds[-1])}")
    say(f"{cell.name}: {time.monotonic() - began:.0f} s")
    return Result(cell.name, datetime.now(timezone.utc).isoformat(), versions, machine(), load, rounds)


def shown(measured: Round) -> str:
    """Return a round in a line."""
    return "; ".join(
        f"{side} {', '.join(f'{value:.4g} {metric}' for metric, value in values.items())}"
        for side, values in measured.items()
    )


def machine() -> dict[str, Any]:
    """Return what the rates depend on."""
    models = [
        line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": (models or [platform.machine()])[0],
        "memory": round(memory / 2**30),
        "kernel": platform.release(),
    }


def say(text: str) -> None:
    """Tell the viewer how far it is."""
    print(f"bench: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
