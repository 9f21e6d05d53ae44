"""The oldest ansible-core that the roles are for, in a virtualenv of its own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from console import SetupError, output_of, run, step

VERSION = "2.16"
PYTHONS = ("3.10", "3.11", "3.12")
"""What it runs on."""
SUITE = "bookworm"
"""It knows hosts up to Python 3.12, which rules out Debian 13."""
FOLDER = Path(f".cache/ansible-{VERSION}")


def ensure_ansible() -> Path:
    """Have it, and return its ansible-playbook.

    :raises SetupError: if there is no Python for it, or it cannot be installed.
    """
    program = FOLDER / "bin/ansible-playbook"
    if VERSION not in (output_of(str(program), "--version") or "").partition("\n")[0]:
        python = _python()
        with step(f"ansible-core {VERSION}, in {FOLDER}"):
            remedy = "Check the network; behind a CA of your own, name its bundle in PIP_CERT"
            run("venv-oldest", [python, "-m", "venv", "--clear", str(FOLDER)], "Debian keeps that apart: python3-venv")
            run("pip-oldest", [f"{FOLDER}/bin/pip", "install", f"ansible-core=={VERSION}.*"], remedy)
    return program.absolute()


def _python() -> str:
    if f"3.{sys.version_info[1]}" in PYTHONS:
        return sys.executable
    found = [path for version in reversed(PYTHONS) if (path := shutil.which(f"python{version}"))]
    if not found:
        raise SetupError(
            f"ansible-core {VERSION} runs on Python {PYTHONS[0]} to {PYTHONS[-1]}; this is 3.{sys.version_info[1]}, "
            "and no other is here",
            f"Install one, then: make test-ansible-oldest PYTHON=python{PYTHONS[-1]}",
        )
    return found[0]
