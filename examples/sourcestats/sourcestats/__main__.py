"""``python -m sourcestats``: measure a folder's files with the workers."""

from __future__ import annotations

import argparse
import io
import sys
import time
from itertools import islice
from pathlib import Path

from sourcestats import client, folders, text
from sourcestats.client import NoSummaryError
from sourcestats.progress import Bar

LIMIT = 10_000
"""Files that are taken unless told otherwise: about 80 MB of memory here, 3 MB in the summary's message."""
PATIENCE = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name is any bytes, and none of them must end the command.
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        run(options.folder, options.limit, options.patience)
    except NoSummaryError as exc:
        print(f"sourcestats: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsourcestats: interrupted; jobs that were submitted are still done", file=sys.stderr)
        return 130
    return 0


def run(folder: Path | None, limit: int, patience: float) -> None:
    """Measure the files of ``folder``, and print the summary."""
    paths = list_files(folder, limit)
    workers = client.wait_for_worker(patience)
    print(f"{len(paths):,} files, {workers} worker{'s' if workers > 1 else ''}", flush=True)
    start = time.monotonic()
    with Bar(len(paths), sys.stdout) as bar:
        summary = client.summarise_files(paths, bar.show, patience)
    if summary.unreadable_files == summary.files:
        path, reason = summary.unreadable[0]
        raise NoSummaryError(
            f"The workers cannot read {path}: {reason}. Mount the folder into the workers, under the same path"
        )
    print(*text.render(summary, time.monotonic() - start), sep="\n")


def list_files(folder: Path | None, limit: int) -> list[str]:
    """Return the first ``limit`` files of ``folder``, or of the Python library.

    :raises NoSummaryError: if there are none.
    """
    if folder is not None and not folder.is_dir():
        raise NoSummaryError(f"There is no folder {folder}")
    found = folders.walk(folder.resolve()) if folder else folders.python_library()
    paths = list(islice(found, limit))
    if not paths:
        raise NoSummaryError(f"There are no files in {folder or 'the Python library'}")
    if next(found, None):
        print(f"Only the first {limit:,} files are taken; --limit takes more")
    return paths


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sourcestats", description="Measure the files of a folder, one job a file."
    )
    parser.add_argument("folder", nargs="?", type=Path, help="default: the Python library of this installation")
    parser.add_argument(
        "--limit", type=_positive, default=LIMIT, metavar="N", help="files at most (default: %(default)s)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="how long to wait for a worker, and for the next job to end (default: %(default).0f)",
    )
    return parser


def _positive(argument: str) -> int:
    number = int(argument)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
