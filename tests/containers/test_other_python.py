"""The stack on a base image with another Python than Debian 13 has, as docs/your-app.md has it."""

from __future__ import annotations

import secrets
import subprocess
from typing import TYPE_CHECKING

from tests.rig.compose import BARE, Stack

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[project]
name = "shop"
version = "1.0"
requires-python = "<3.12"
dependencies = ["celery[redis]==5.6.3"]
"""
SHOP = """
import sys
import celery
app = celery.Celery("shop")
@app.task
def about():
    return [*sys.version_info[:2], celery.__version__]
"""
ASK = "from shop import about; print(about.delay().get(timeout=60))"


def test_an_app_for_an_older_python_runs_on_a_base_that_has_it(tmp_path: Path) -> None:
    """It is refused on the usual base with the remedy, and the remedy helps; the usual images stay as they are."""
    folder, tag = tmp_path / "shop", f"test-{secrets.token_hex(4)}"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(TOML)
    (folder / "shop.py").write_text(SHOP)
    told = {"CELERYKIT_APP_DIR": str(folder), "CELERY_APP": "shop"}
    usual = Stack(f"celerykit-{tag}", BARE, told)
    other = Stack(f"celerykit-{tag}", BARE, {**told, "CELERYKIT_BASE": "debian:bookworm-slim", "CELERYKIT_TAG": tag})
    try:
        said = usual.ask("up", "--no-build", "app")
        assert "This is Python 3.13" in said.stdout + said.stderr
        assert "name an image of Debian or Ubuntu with the app's Python in CELERYKIT_BASE" in said.stdout + said.stderr
        other.compose("build", "passwords", "app")
        other.up("worker")
        answer = other.compose("run", "--rm", "--no-deps", "--no-TTY", "client", "python", "-c", ASK)
        assert answer.strip() == "[3, 11, '5.6.3']"
    finally:
        other.remove()
        images = [f"celerykit/{name}:{tag}" for name in ("celery", "installer")]
        subprocess.run(["docker", "image", "rm", "--force", *images], capture_output=True, check=False)
