"""Ansible as an operator runs it: an inventory, the playbook of the repository, and what it said."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("ansible-playbook")
"""The one beside this Python; another by CELERYKIT_TEST_ANSIBLE."""
GROUPS = ("brokers", "backends", "workers", "beat", "monitoring")


@dataclass(frozen=True)
class Play:
    """One run of a playbook."""

    code: int
    text: str
    seconds: float

    def changed(self, host: str = "host") -> int:
        """Return how many tasks have changed a host, or would."""
        found = re.search(rf"^{host} +: .*changed=(\d+)", self.text, flags=re.MULTILINE)
        assert found, self.text
        return int(found[1])

    def refusal(self, host: str = "host") -> str:
        """Return why a host was given up, in one line.

        :raises AssertionError: if it was not.
        """
        # The line itself, and all that is indented below it.
        found = re.search(rf"^fatal: \[{host}\]: .*\n(?:[ \t].*\n|\n)*", f"{self.text}\n", flags=re.MULTILINE)
        assert found, f"nothing was refused on {host}:\n{self.text}"
        return " ".join(found[0].split())


def play(
    inventory: Mapping[str, Any],
    folder: Path,
    *arguments: str,
    playbook: str = "site.yml",
    collections: Path | None = None,
) -> Play:
    """Run a playbook on an inventory, written where its passwords are kept, and return what came of it.

    :param collections: a folder of collections, one of which has the playbook; nothing of the repository is used then.
    """
    file = folder / "inventory.json"
    file.write_text(json.dumps(inventory), encoding="utf-8")
    program = os.environ.get("CELERYKIT_TEST_ANSIBLE") or PROGRAM
    place = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    if collections:
        settings = collections / "ansible.cfg"
        settings.touch()
        place = {"ANSIBLE_CONFIG": str(settings), "ANSIBLE_COLLECTIONS_PATH": str(collections)}
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", **place}
    began = time.monotonic()
    done = subprocess.run(
        [program, "-i", str(file), *arguments, playbook],
        cwd=collections or ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Play(done.returncode, done.stdout, time.monotonic() - began)
