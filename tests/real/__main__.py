"""``make apps``: run each app that has no outcome yet, and write the record and the page."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import Any

from tests.real import page
from tests.real.app import RealApp, names
from tests.real.run import is_kept, run
from tests.rig.record import versions


def main() -> int:
    """Run one app, or all that are left; return 1 if a job was lost or a run failed, and 2 if there is no such app."""
    wanted = os.environ.get("CELERYKIT_REAL_APP")
    if wanted and wanted not in names():
        print(f"error: there is no app {wanted}\nremedy: take one of {', '.join(names())}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is up is removed
    told = {"kit": {name: versions()[name] for name in ("celerykit", "redis-server")}}
    made, failed = {}, []
    for name in [wanted] if wanted else names():
        try:
            run_it = partial(outcome, name)
            made[name] = {**told, **run_it()} if wanted else page.RECORD.resume(name, told, run_it)
        except AssertionError as exc:
            print(f"error: {name}: {exc}", file=sys.stderr, flush=True)
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}\nremedy: see above; the same command goes on with them", file=sys.stderr)
        return 1
    page.RECORD.write({**page.RECORD.read(), **made})
    page.PAGE.write_text(page.page(), encoding="utf-8")
    return 0 if all(is_kept(one) for one in made.values()) else 1


def outcome(name: str) -> dict[str, Any]:
    """Run an app under a project name of its own."""
    return run(RealApp.read(name), f"celerykit-app-{name}")


if __name__ == "__main__":
    sys.exit(main())
