"""``make faults``: do each fault that has no outcome yet, and write the record and the page when all have."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.faults import page
from tests.faults.cases import CASES, STOCK
from tests.faults.outcome import Outcome
from tests.rig.record import machine, versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.faults.cases import Case

SEED = 1
SHARE = 10
"""How many times fewer events stock workers get, and at least as many times fewer ``make test``."""


def main() -> int:
    """Run one fault, or all that are left; return 1 if a promise was broken, and 2 if there is no such fault."""
    wanted = os.environ.get("CELERYKIT_FAULT")
    if wanted and wanted not in CASES:
        print(f"error: there is no fault {wanted}\nremedy: take one of {', '.join(CASES)}", file=sys.stderr)
        return 2
    told = {"versions": versions(), "machine": machine(), "seed": int(os.environ.get("CELERYKIT_SEED") or SEED)}
    if wanted:
        made = {wanted: {**told, **outcomes(CASES[wanted], told["seed"])}}
    else:
        made = {
            name: page.RECORD.resume(name, told, partial(outcomes, case, told["seed"])) for name, case in CASES.items()
        }
        page.RECORD.write(made)
        page.write()
    print(page.table(made))
    return 0 if all(is_kept(name, one) for name, one in made.items()) else 1


def outcomes(case: Case, seed: int) -> dict[str, Any]:
    """Do a fault to both sides."""
    events = {page.KIT: case.events, **({page.STOCK: max(1, case.events // SHARE)} if case.on_stock else {})}
    date = datetime.now(timezone.utc).isoformat()
    made = {}
    for side, number in events.items():
        outcome = case.run(seed, number, STOCK if side == page.STOCK else {})
        print(f"faults: {case.name}, {side}: {outcome}", flush=True)
        made[side] = outcome.as_dict()
    return {"date": date, "outcomes": made}


def is_kept(name: str, one: Mapping[str, Any]) -> bool:
    """Say whether the kit keeps its promise."""
    return CASES[name].is_kept(Outcome(**one["outcomes"][page.KIT]))


if __name__ == "__main__":
    sys.exit(main())
