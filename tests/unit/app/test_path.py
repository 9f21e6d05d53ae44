"""The line by which a process of the kit finds the app's own requirements."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LINE = Path(__file__).parents[3] / "images" / "app" / "celerykit-app.pth"
READ = "import site, sys; site.addpackage({folder!r}, {name!r}, None); import {module}; print({module}.__file__)"


VERSION = "python{}.{}".format(*sys.version_info)


@pytest.mark.parametrize("folder", [f".deps/lib/{VERSION}/site-packages", "src"])
@pytest.mark.parametrize("module", ["beside", "click"])
def test_what_lies_beside_the_app_is_found(folder: str, module: str, tmp_path: Path) -> None:
    """Requirements and a package in src/ are importable in the app's folder, before packages of the kit's."""
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / f"{module}.py").touch()
    code = READ.format(folder=str(LINE.parent), name=LINE.name, module=module)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(tmp_path / folder / f"{module}.py"), done.stderr
