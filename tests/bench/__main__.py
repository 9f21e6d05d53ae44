"""``make bench``: measure each cell that has no result yet, and write the record and the page when all have.

``BENCH=tuned`` does so with the cells of sizes alone. A cell's name measures that one. Unless it is one of sizes, the
record and the page have it then.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.bench import page, sizes_page
from tests.bench.cells import CELLS
from tests.bench.outcomes import outcomes
from tests.bench.results import results
from tests.bench.rivals import versions as rivals_versions
from tests.rig.record import machine, versions

if TYPE_CHECKING:
    from tests.bench.cells import Cell
    from tests.bench.results import Round


SIZES = "tuned"
"""All cells of sizes, and no other."""


def main() -> int:
    """Measure one cell, or all that are left, and return 2 if there is no such cell."""
    wanted = os.environ.get("CELERYKIT_BENCH") or ""
    known = (*CELLS, SIZES, *sizes_page.CELLS)
    if wanted and wanted not in known:
        print(f"error: there is no cell {wanted}\nremedy: take one of {', '.join(known)}", file=sys.stderr)
        return 2
    told = {"versions": versions(), "machine": machine()}
    if wanted in CELLS:
        page.RECORD.replace(wanted, {**told, **measured(CELLS[wanted])})
        page.write()
        print(page.table(results({wanted: page.RECORD.read()[wanted]})))
    elif wanted in sizes_page.CELLS:
        cell = sizes_page.CELLS[wanted]
        print(sizes_page.section(cell, outcomes({wanted: {**told, **cell.measure()}})[wanted]))
    else:
        measure_all(told, own=not wanted)
    return 0


def measure_all(told: dict[str, Any], *, own: bool) -> None:
    """Measure what is left of all cells, or of those of sizes, and write the records and the page."""
    resume, rivals = page.RECORD.resume, rivals_versions()
    made = {name: resume(name, told, partial(measured, cell)) for name, cell in CELLS.items()} if own else {}
    told = {**told, "versions": {**told["versions"], **rivals}}
    sized = {name: sizes_page.RECORD.resume(name, told, cell.measure) for name, cell in sizes_page.CELLS.items()}
    # Only now: what is written is no longer there for an interrupted run to go on with.
    if own:
        page.RECORD.write(made)
    sizes_page.RECORD.write(sized)
    page.write()
    print(page.table(results(made)), sizes_page.part(), sep="\n")


def measured(cell: Cell) -> dict[str, Any]:
    """Measure a cell: its sides in turn, in each round in the other order."""
    began, load = time.monotonic(), os.getloadavg()[0]
    rounds: list[Round] = []
    for number in range(cell.rounds):
        sides = cell.sides if number % 2 == 0 else tuple(reversed(cell.sides))
        measured = cell.measure(sides)
        rounds.append({side.name: measured[side.name] for side in cell.sides})
        say(f"{cell.name} {number + 1}/{cell.rounds}: {shown(rounds[-1])}")
    say(f"{cell.name}: {time.monotonic() - began:.0f} s")
    return {"date": datetime.now(timezone.utc).isoformat(), "load": load, "rounds": rounds}


def shown(measured: Round) -> str:
    """Return a round in a line."""
    return "; ".join(
        f"{side} {', '.join(f'{value:.4g} {metric}' for metric, value in values.items())}"
        for side, values in measured.items()
    )


def say(text: str) -> None:
    """Tell the viewer how far it is."""
    print(f"bench: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
