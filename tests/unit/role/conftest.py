"""The scripts and modules of the role, which are no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "roles" / "celery" / "files"


def load(path: Path) -> Any:
    """Import a file of the repository."""
    spec = importlib.util.spec_from_file_location(f"role_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def scripts() -> Iterator[dict[str, Any]]:
    """Return what runs on the controller, by name."""
    before = list(sys.path)
    sys.path.insert(0, str(SCRIPTS))
    names = ("pack", "sources", "network", "layout", "plan")
    yield {name: __import__(name) for name in ("plan", "sources", "pack")}
    sys.path[:] = before
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep archives and repositories of the tests apart from the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"
