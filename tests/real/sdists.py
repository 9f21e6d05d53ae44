"""Apps that are a folder of an sdist: ``sdists.txt`` names those of PyPI that hold one, with their hashes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

WANTED = Path(__file__).with_name("sdists.txt")
UNPACKED = Path(".cache/sdists")


def folder(name: str) -> Path:
    """Return a folder of an sdist, whose first part is the sdist's own; download them where it is not there.

    :raises SystemExit: if they cannot be downloaded.
    """
    if not (UNPACKED / name).exists():
        _download()
    return UNPACKED / name


def _download() -> None:
    loaded = UNPACKED / "loaded"
    shutil.rmtree(loaded, ignore_errors=True)
    asked = ("--no-deps", "--no-binary", ":all:", "--require-hashes", "--requirement", str(WANTED))
    command = [sys.executable, "-m", "pip", "download", "--quiet", *asked, "--dest", str(loaded)]
    if subprocess.run(command, check=False).returncode:
        sys.exit(
            f"error: {WANTED} cannot be downloaded\nremedy: See above: check the network, or name a CA in PIP_CERT"
        )
    for file in loaded.iterdir():
        shutil.unpack_archive(file, UNPACKED, filter="data")
    shutil.rmtree(loaded)
