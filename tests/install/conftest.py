"""An installer whose index is a folder of wheels, and whose kit has few packages."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from celerykit.app import pins, release
from tests.install.parts import wheel, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KIT = {"celery": "5.7.0", "kombu": "5.7.0", "ddsketch": "3.0.1", "useful": "1.0"}
"""What the kit's own environment has here, and its lock file says."""


@dataclass
class Installer:
    """Installs apps as the container does, and asks what it has installed."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def wheels(self) -> Path:
        """What the index has."""
        return self.folder / "index"

    @property
    def root(self) -> Path:
        """Where releases go."""
        return self.folder / "root"

    @property
    def current(self) -> Path:
        """The release that workers would run."""
        return self.root / "current"

    def app(self, files: Mapping[str, str]) -> Path:
        """Write the app's folder."""
        return write(self.folder / "app", {"shop.py": "", **files})

    def install(self) -> str:
        """Install it, and return what was said.

        :raises AppError: if it cannot be installed.
        """
        release.make(self.folder / "app", self.root)
        return self.capture.readouterr().out

    def versions(self) -> dict[str, str]:
        """Return what is installed for the app, with the versions."""
        found = map(str, self.current.glob(".deps/lib/python3*/site-packages"))
        return {item.name: item.version for item in metadata.distributions(path=list(found))}

    @property
    def python(self) -> str:
        """The app's own interpreter."""
        return str(self.current / ".deps" / "bin" / "python")

    def asks(self, code: str) -> str:
        """Run code in the app's folder, and return what it prints."""
        done = subprocess.run([self.python, "-c", code], cwd=self.current, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Installer:
    """An installer that reaches a folder of wheels and nothing else."""
    made = Installer(tmp_path, capsys)
    for version in ("5.4.0", "5.5.3", "5.6.3", "5.7.0", "5.9.0"):
        wheel(made.wheels, "celery", version, f"kombu>={version[:3]},<{int(version[0])}.{int(version[2]) + 1}")
        wheel(made.wheels, "kombu", version)
    for version in ("1.0", "2.0"):
        wheel(made.wheels, "useful", version, program="usefully")
        wheel(made.wheels, "other", version)
    wheel(made.wheels, "ddsketch", "3.0.1")
    monkeypatch.setattr(pins, "kit", lambda: dict(KIT))
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_FIND_LINKS", str(made.wheels))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    return made
