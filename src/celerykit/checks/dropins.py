"""The verification of drop-ins of units, by the installed systemd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from celerykit.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PLACE = Path("/etc/systemd/system")
VERIFY = ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no")
COMPLAINT = re.compile(r"^(?P<path>/.*\.d/.*\.conf):(?P<line>\d+): (?P<problem>.*?)\.?$", re.MULTILINE)


def judge(units: Mapping[str, str]) -> list[Finding]:
    """Return a finding for each line of a drop-in that systemd would ignore.

    There are none where no systemd is installed.
    """
    names = {name.partition("/")[0].removesuffix(".d") for name in units if "/" in name}
    if not names or shutil.which(VERIFY[0]) is None:
        return []
    with tempfile.TemporaryDirectory(prefix="celerykit-") as folder:
        for name, text in units.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        # The empty last part stands for systemd's own folders.
        environ = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:", "LC_ALL": "C.UTF-8"}
        output = subprocess.run(
            [*VERIFY, *sorted(names)], capture_output=True, text=True, env=environ, check=False
        ).stderr
        return list(dict.fromkeys(_findings(output, folder, units)))


def _findings(output: str, folder: str, units: Mapping[str, str]) -> Iterator[Finding]:
    for complaint in COMPLAINT.finditer(output):
        name = complaint["path"].removeprefix(f"{folder}/")
        if name not in units:
            continue  # of another program's unit
        key, _, value = units[name].splitlines()[int(complaint["line"]) - 1].partition("=")
        remedy = "See 'man systemd.directives' for its names and values"
        yield Finding(key, value, f"{PLACE}/{name}:{complaint['line']}", complaint["problem"], remedy)
