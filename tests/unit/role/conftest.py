"""The scripts and modules of the roles, which are no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def load(path: Path) -> Any:
    """Import a file of the repository."""
    spec = importlib.util.spec_from_file_location(f"role_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
