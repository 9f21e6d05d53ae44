"""The record of the kit's files on this machine outside its folder: `make clean` removes these and no others."""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(".cache/installed.json")
PLUGINS = "docker-plugins"
BASE_IMAGE = "base-image"


def read(kind: str) -> list[str]:
    """Return the recorded names of a kind."""
    return list(_load().get(kind, []))


def add(kind: str, name: str) -> None:
    """Record one more name."""
    installed = _load()
    if name not in installed.setdefault(kind, []):
        installed[kind].append(name)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(installed, indent=2) + "\n", encoding="utf-8")


def _load() -> dict[str, list[str]]:
    return dict(json.loads(FILE.read_text(encoding="utf-8"))) if FILE.exists() else {}
