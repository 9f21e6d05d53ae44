"""The collection of Ansible, built and installed as by a user who has deployed from the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SECRET = "a secret"
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".*cache", "__pycache__")


def install(folder: Path) -> Path:
    """Build the collection and install it below a folder; return where it is."""
    used = folder / "used"
    shutil.copytree(ROOT, used, symlinks=True, ignore=NOT_COPIED)
    shutil.copytree(used / "playbooks/inventories/single", used / "inventory")
    for secret in (used / "inventory/.secrets", used / "playbooks/inventories/single/.secrets", used / ".hosts/redis"):
        secret.parent.mkdir(exist_ok=True)
        secret.write_text(SECRET)
    run("ansible-galaxy", "collection", "build", "--output-path", str(folder), folder=used)
    (archive,) = folder.glob("*.tar.gz")
    run("ansible-galaxy", "collection", "install", "--offline", "-p", str(folder), str(archive))
    shutil.rmtree(used)
    return folder / "ansible_collections/celerykit/kit"


def run(*command: str, folder: Path = ROOT, **environment: str) -> str:
    """Run a command of Ansible and return its output.

    :raises AssertionError: if it fails.
    """
    done = subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=folder,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
