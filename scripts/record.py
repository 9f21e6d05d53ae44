"""What the kit has put on this machine outside its own folder, so that `make clean` removes that and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(".cache/installed.json")
PLUGINS = "docker-plugins"
BASE_IMAGE = "base-image"


def read(kind: str) -> list[str]:
    """Return what was recorded of a kind."""
    return list(_load().get(kind, []))


def add(kind: str, name: str) -> None:
    """Remember one more thing."""
    known = _load()
    if name not in known.setdefault(kind, []):
        known[kind].append(name)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def _load() -> dict[str, list[str]]:
    return dict(json.loads(FILE.read_text(encoding="utf-8"))) if FILE.exists() else {}
