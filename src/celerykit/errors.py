"""Errors of a configuration, each with its variable, value, source and remedy."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EX_CONFIG = 78
"""Exit code of a process that cannot start as configured, by ``sysexits.h``: a restart alone does not help."""


@dataclass(frozen=True)
class Finding:
    """One error or warning: the variable and its value, their source, the problem and the remedy."""

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
    """The process cannot start as configured; ``findings`` hold the reasons."""

    def __init__(self, *findings: Finding):
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


def look_up(remedies: Mapping[str, str], problem: str) -> str:
    """Return the first remedy whose regular expression matches an error message, an empty string if none does."""
    return next((remedy for pattern, remedy in remedies.items() if re.search(pattern, problem)), "")
