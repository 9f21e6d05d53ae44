"""What is wrong with a configuration, said so that the reader can mend it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EX_CONFIG = 78
"""Exit code of a process that cannot start as configured, ``sysexits.h``: it needs somebody to mend that first."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where it stands, why it hurts and how to mend it."""

    variable: str
    value: str
    source: str
    """The file and line, ``environment``, or the Python object that holds the value."""
    problem: str
    remedy: str

    def __str__(self) -> str:
        shown = f"{self.variable}={self.value}" if self.value else self.variable
        return f"{shown} ({self.source}): {self.problem}. {self.remedy}{'' if self.remedy.endswith('?') else '.'}"

    def as_dict(self) -> dict[str, str]:
        """Return the finding as plain data, for ``--format json``."""
        return asdict(self)


class ConfigurationError(Exception):
    """The process cannot start as configured; ``findings`` say why."""

    def __init__(self, *findings: Finding):
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


def look_up(remedies: Mapping[str, str], problem: str) -> str:
    """Return the first remedy whose regular expression is found in what a server or client says, nothing if none is."""
    return next((remedy for pattern, remedy in remedies.items() if re.search(pattern, problem)), "")
