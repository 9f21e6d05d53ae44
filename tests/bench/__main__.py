"""``make bench``: measure each cell that has no result yet, and write the record and the page when all have."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.bench import page
from tests.bench.cells import CELLS
from tests.bench.results import results
from tests.rig.record import machine, versions

if TYPE_CHECKING:
    from tests.bench.cells import Cell
    from tests.bench.results import Round


def main() -> int:
    """Measure one cell, or all that are left, and return 2 if there is no such cell."""
    wanted = os.environ.get("CELERYKIT_BENCH")
    if wanted and wanted not in CELLS:
        print(f"error: there is no cell {wanted}\nremedy: take one of {', '.join(CELLS)}", file=sys.stderr)
        return 2
    told = {"versions": versions(), "machine": machine()}
    if wanted:
        made = {wanted: {**told, **measured(CELLS[wanted])}}
    else:
        made = {name: page.RECORD.resume(name, told, partial(measured, cell)) for name, cell in CELLS.items()}
        page.RECORD.write(made)
        page.PAGE.write_text(page.page(), encoding="utf-8")
    print(page.table(results(made)))
    return 0


def measured(cell: Cell) -> dict[str, Any]:
    """Measure a cell: its sides in turn, in each round in the other order."""
    began, load = time.monotonic(), os.getloadavg()[0]
    rounds = []
    for number in range(cell.rounds):
        sides = cell.sides if number % 2 == 0 else tuple(reversed(cell.sides))
        measured: Round = {side.name: cell.measure(side) for side in sides}
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
