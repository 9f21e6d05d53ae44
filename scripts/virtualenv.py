"""The virtualenv of the development tools: made with Python's own venv, filled by uv from the lock file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from console import SetupError, run, step

FOLDER = Path(".venv")
STAMP = FOLDER / ".celerykit"
TOOLS = Path("images/tools.txt")
INPUTS = (TOOLS, Path("pyproject.toml"), Path("uv.lock"))


def ensure_virtualenv() -> None:
    """Make or update the virtualenv by the lock file.

    :raises SetupError: if that fails.
    """
    wanted = hashlib.sha256(sys.version.encode() + b"".join(path.read_bytes() for path in INPUTS)).hexdigest()
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted:
        return
    with step("virtualenv with the development tools, in .venv"):
        if not (FOLDER / "bin/python").exists() or not (FOLDER / "bin/pip").exists():
            _make()
        run(
            "pip",
            [
                f"{FOLDER}/bin/pip",
                "install",
                "--disable-pip-version-check",
                "--require-hashes",
                "--requirement",
                str(TOOLS),
            ],
            "Check the network; behind a CA of your own, name its bundle in PIP_CERT and SSL_CERT_FILE",
        )
        run(
            "uv-sync",
            # Inexact, or uv would remove itself.
            [f"{FOLDER}/bin/uv", "sync", "--locked", "--all-extras", "--inexact", "--python", f"{FOLDER}/bin/python"],
            "Check the network; if the lock file does not match pyproject.toml: uv lock",
        )
        STAMP.write_text(wanted, encoding="utf-8")


def _make() -> None:
    done = subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(
            f"Python cannot make a virtualenv: {(done.stdout + done.stderr).strip()[-200:]}",
            f"Debian and Ubuntu keep that apart: apt-get install python3.{sys.version_info[1]}-venv",
        )
