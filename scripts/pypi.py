"""Packages of PyPI that are unpacked, not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console import run

if TYPE_CHECKING:
    from pathlib import Path

REMEDY = "Check the network; behind a CA of your own, name its bundle in PIP_CERT"


def download(requirement: str, folder: Path, *options: str) -> Path:
    """Download the one file of a requirement, and return it.

    :raises SetupError: if the download fails.
    """
    arguments = ("--no-deps", "--dest", str(folder), *options)
    run(f"pip-{folder.name}", [".venv/bin/pip", "download", *arguments, requirement], REMEDY)
    (file,) = (path for path in folder.iterdir() if path.name.endswith((".whl", ".tar.gz")))
    return file
