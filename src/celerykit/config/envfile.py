"""The one dialect of environment files with an equal meaning for every reader.

systemd, ``sh``, ``docker run --env-file`` and Compose each quote, expand and cut values in their own way. They agree on
lines of ``KEY=value`` with values that match :data:`SAFE_VALUE`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SAFE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SAFE_VALUE = re.compile(r"[A-Za-z0-9_@%+=:,./?\[\]~-]*")
SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|PRIVATE|API_?KEY|AUTH(?!OR)|CREDENTIAL")
URL_PASSWORD = re.compile(r"(://[^:/?#]*:).*@")


@dataclass(frozen=True)
class Line:
    """One assignment and its source, as ``FILE:LINE``."""

    name: str
    value: str
    source: str


def parse(text: str, path: str) -> list[Line]:
    """Return the assignments of an environment file.

    :raises ConfigurationError: with one finding for each line outside the dialect.
    """
    lines, findings = [], []
    for number, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip() or raw.lstrip().startswith("#"):
            continue
        name, separator, value = raw.partition("=")
        source = f"{path}:{number}"
        if not separator or not SAFE_NAME.fullmatch(name):
            findings.append(
                Finding(
                    re.split("[=:]", raw.strip())[0].strip(),  # the rest may be a secret
                    "",
                    source,
                    "not a KEY=value line",
                    "Write KEY=value, with no 'export' and no spaces around '='",
                )
            )
        elif not SAFE_VALUE.fullmatch(value):
            findings.append(_outside_dialect(name, value, source))
        else:
            lines.append(Line(name, value, source))
    if findings:
        raise ConfigurationError(*findings)
    return lines


def read(path: Path) -> list[Line]:
    """Parse the file at ``path``.

    :raises ConfigurationError: if it cannot be read or leaves the dialect.
    """
    try:
        text = path.read_bytes().decode()  # with the line ends as they are
    except (OSError, UnicodeDecodeError) as exc:
        finding = Finding(
            path.name, "", str(path), f"cannot be read: {exc}", "Make it a UTF-8 file that this user may read"
        )
        raise ConfigurationError(finding) from exc
    return parse(text, str(path))


def render(values: Mapping[str, str]) -> str:
    """Return the text of an environment file.

    :raises ConfigurationError: if a name or value does not fit the dialect.
    """
    lines = []
    for name, value in values.items():
        line = f"{name}={value}"
        if [(item.name, item.value) for item in parse(line, "rendered")] != [(name, value)]:
            remedy = "Use a name of letters, digits and '_', and the *_FILE form for a value that spans lines"
            raise ConfigurationError(Finding(name, mask(name, value), "rendered", "no line can say this", remedy))
        lines.append(f"{line}\n")
    return "".join(lines)


def mask(name: str, value: str) -> str:
    """Return ``value`` without the password of its URL; ``***`` for a variable whose name marks a secret."""
    if SECRET_NAME.search(name):
        return "***" if value else ""
    return URL_PASSWORD.sub(r"\1***@", value)


def _outside_dialect(name: str, value: str, source: str) -> Finding:
    bad = next(char for char in value if not SAFE_VALUE.fullmatch(char))
    encoded = "".join(f"%{byte:02X}" for byte in bad.encode())
    remedy = f"URL-encode it ({encoded} in a URL)"
    if name.startswith(("CELERY_", "FLOWER_")):
        remedy += f", or put the value in a file and name the file in {name}_FILE"
    elif not name.startswith("CELERYKIT_"):
        remedy = (
            "Put it into a file of the app's own, which takes any characters, and name that in CELERYKIT_APP_ENV_FILE"
        )
    if bad == "\r":
        remedy = "Save the file with Unix line ends"
    return Finding(
        name,
        mask(name, value),
        source,
        f"{bad!r} is read differently by systemd, sh, docker and compose",
        remedy,
    )
