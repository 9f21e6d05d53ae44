"""Install an app in a container: ``python -m celerykit.app COMMAND SOURCE TARGET``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from celerykit.app import release
from celerykit.app.errors import CONTAINER, AppError


def main(command: str, source: str, target: str) -> int:
    """Run one command and return its exit code."""
    try:
        _log_in()
        {"release": release.make, "image": release.make_image}[command](Path(source), Path(target))
    except AppError as exc:
        print(f"install: error: {exc.describe(CONTAINER)}", file=sys.stderr)
        return 1
    return 0


def _log_in() -> None:
    """Link uv's logins into the home folder: git looks for them nowhere else.

    :raises AppError: if the file exists and this user cannot read it.
    """
    logins = os.environ.get("NETRC", "")
    if not Path(logins).is_file():
        return
    if not os.access(logins, os.R_OK):
        raise AppError(
            f"user {os.getuid()} of this container cannot read the file that CELERYKIT_NETRC names. "
            "Let others read it, in a folder that only you may enter: chmod a+r FILE"
        )
    with suppress(FileExistsError):
        Path.home().joinpath(".netrc").symlink_to(logins)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
