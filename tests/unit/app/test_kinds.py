"""Which file of an app's folder says what it needs, and which tool it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celerykit.app import folder, kinds

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = '[project]\nname = "shop"\n'
BUILD = '[build-system]\nrequires = ["hatchling"]\n'
POETRY = "[tool.poetry.dependencies]\ncelery = '^5.5'\n"
TOOLS = "[tool.ruff]\nline-length = 119\n[[tool.mypy.overrides]]\n"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"requirements.txt": "", "uv.lock": "", "pyproject.toml": PROJECT}, ("pip", "requirements.txt", False)),
        ({"uv.lock": "", "pyproject.toml": PROJECT}, ("uv", "uv.lock", False)),
        ({"pyproject.toml": PROJECT + BUILD}, ("project", "pyproject.toml", True)),
        ({"pyproject.toml": PROJECT}, ("project", "pyproject.toml", False)),
        ({"pyproject.toml": f"{PROJECT}{BUILD}[tool.uv]\npackage = false\n"}, ("project", "pyproject.toml", False)),
        ({"pyproject.toml": POETRY + BUILD}, ("project", "pyproject.toml", True)),
        ({"pyproject.toml": POETRY + BUILD, "poetry.lock": ""}, ("poetry", "poetry.lock", True)),
        ({"pyproject.toml": f"[tool.poetry]\npackage-mode = false\n{POETRY}"}, ("poetry", "pyproject.toml", False)),
        ({"Pipfile": "", "Pipfile.lock": ""}, ("pipenv", "Pipfile.lock", False)),
        ({"setup.py": "", "setup.cfg": "[metadata]\n"}, ("project", "setup.py", True)),
        ({"setup.cfg": "[options]\n"}, ("project", "setup.cfg", True)),
        ({"setup.py": "", "pyproject.toml": BUILD}, ("project", "setup.py", True)),
        ({"requirements/production.txt": "", "pyproject.toml": TOOLS}, ("pip", "requirements/production.txt", False)),
        ({"pyproject.toml": TOOLS, "setup.cfg": "[flake8]\n"}, None),
        ({"shop.py": ""}, None),
    ],
)
def test_the_file_that_counts_is_the_tool_s(
    files: dict[str, str], found: tuple[str, str, bool] | None, tmp_path: Path
) -> None:
    """Settings of linters count for nothing; a package is one that its own tool would install."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    kind = kinds.find(folder.read(tmp_path))
    assert (kind and (kind.tool, kind.manifest, kind.is_package)) == found


def test_what_does_not_count_is_named(tmp_path: Path) -> None:
    """Who has two files for one thing hears which of them decides."""
    for name in ("requirements.txt", "uv.lock", "setup.py"):
        (tmp_path / name).touch()
    kind = kinds.find(folder.read(tmp_path))
    assert kind and kind.others == ("uv.lock", "setup.py")
