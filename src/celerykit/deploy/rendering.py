"""Values of YAML as env files and units have them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def text_of(value: Any, yes: str = "true", no: str = "false") -> str:
    """Return a value as the readers of an env file want it; the items of a list have commas between them."""
    if isinstance(value, bool):
        return yes if value else no
    if isinstance(value, (list, tuple)):
        return ",".join(map(text_of, value))
    return str(value)


def section(directives: Mapping[str, Any]) -> str:
    """Return the directives of a drop-in of systemd, a list as one line for each item.

    :raises ValueError: with the line that a unit cannot hold.
    """
    text = "[Service]\n"
    for key, value in directives.items():
        for item in value if isinstance(value, list) else [value]:
            line = text_of(item, yes="yes", no="no")
            if not re.fullmatch(r"[A-Za-z0-9]+", key) or "\n" in line or line.endswith("\\"):
                raise ValueError(f"{key}={line}")
            text += f"{key}={line}\n"
    return text
