"""``make apps``: run each app that has no outcome yet, and write the record and the page."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

from tests.real import page
from tests.real.app import RealApp, names
from tests.real.run import is_kept, run
from tests.rig.record import versions


def main() -> int:
    """Run one app, or all that are left; return 1 if a job was lost, and 2 if there is no such app."""
    wanted = os.environ.get("CELERYKIT_REAL_APP")
    if wanted and wanted not in names():
        print(f"error: there is no app {wanted}\nremedy: take one of {', '.join(names())}", file=sys.stderr)
        return 2
    told = {"kit": {name: versions()[name] for name in ("celerykit", "redis-server")}}
    if wanted:
        made = {wanted: {**told, **outcome(wanted)}}
    else:
        made = {name: page.RECORD.resume(name, told, partial(outcome, name)) for name in names()}
    page.RECORD.write({**page.RECORD.read(), **made})
    page.PAGE.write_text(page.page(), encoding="utf-8")
    return 0 if all(is_kept(one) for one in made.values()) else 1


def outcome(name: str) -> dict[str, Any]:
    """Run an app under a project name of its own."""
    return run(RealApp.read(name), f"celerykit-app-{name}")


if __name__ == "__main__":
    sys.exit(main())
