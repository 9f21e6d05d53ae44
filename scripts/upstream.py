"""Kombu's own tests, of the release in the virtualenv: its source archive has them, its package does not."""

from __future__ import annotations

import shutil
from pathlib import Path

from console import SetupError, output_of, run, step
from pypi import download

ASK = "import kombu; print(kombu.__version__)"


def ensure_tests() -> Path:
    """Download them, and return the folder of the source.

    :raises SetupError: if the download fails.
    """
    version = output_of(".venv/bin/python", "-c", ASK)
    if not version:
        raise SetupError("Kombu is not in .venv", "Make it again: make clean, then the same command")
    folder = Path(f".cache/kombu-{version}")
    if not folder.exists():
        with step(f"Kombu's tests, in {folder}"):
            loaded = Path(".cache/kombu")
            source = download(f"kombu=={version}", loaded, "--no-binary", ":all:")
            run(
                "unpack-kombu",
                ["tar", "--extract", "--file", str(source), "--directory", ".cache"],
                "Remove .cache/kombu",
            )
            shutil.rmtree(loaded)
    return folder
