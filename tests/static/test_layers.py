"""The rooms of the package and the floors that they are on: an import goes down, never up, and never in a circle."""

from __future__ import annotations

import ast
import graphlib
import os
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from tests.static.test_repository import ROOT, tracked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = ROOT / "src" / "celerykit"
FLOORS = (
    "__main__",
    "worker cli",
    "checks __init__",
    "loader launch",
    "control tuning",
    "transports beat process deploy",
    "messages credentials celery_app host scheduling",
    "brokers health sizing app",
    "config compat",
    "releases secretfile",
    "differences errors instance onestep",
)
"""The rooms, a floor a line, as a house is drawn; one that is no folder is a module."""
LIGHT = (
    "app",
    "brokers.catalogue",
    "brokers.postgresql",
    "brokers.rabbitmq_definitions",
    "celery_app.defaults",
    "cli",
    "config",
    "credentials",
    "deploy",
    "differences",
    "errors",
    "health",
    "host",
    "instance",
    "onestep",
    "releases",
    "secretfile",
    "sizing",
)
"""Rooms and modules without Celery: probes import them every few seconds, roles where there is Ansible alone."""
NAMED = re.compile(r"[\"'](celerykit(?:\.\w+)+):(\w+)[\"']")


def name_of(file: Path) -> str:
    """Return a module's name below the package."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


@cache
def modules() -> dict[str, Path]:
    """Return each module of the package, by its name below it."""
    return {name_of(file): file for file in tracked("src/celerykit/*.py", "src/celerykit/**/*.py")}


def imported(file: Path) -> Iterator[str]:
    """Yield the modules that one imports: anywhere, for its types alone and within a function, too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("celerykit.") for alias in node.names if "celerykit." in alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "celerykit":
            base = (node.module or "").removeprefix("celerykit").removeprefix(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".removeprefix(".")
                packages = (inner, f"{inner}.__init__", base, f"{base}.__init__".removeprefix("."))
                yield next(name for name in packages if name in modules())


@cache
def imports() -> dict[str, set[str]]:
    """Return what each module imports of the package."""
    return {name: set(imported(file)) - {name} for name, file in modules().items()}


def room_of(module: str) -> str:
    """Return the room that a module is in."""
    return module.partition(".")[0]


def test_each_room_is_on_a_floor() -> None:
    """A new room has its place said; one that is gone has none."""
    assert {room_of(name) for name in modules()} == set(" ".join(FLOORS).split())


def test_imports_go_down() -> None:
    """Who reads a room needs to know those below it, and no other."""
    floor = {room: number for number, rooms in enumerate(reversed(FLOORS)) for room in rooms.split()}
    climbing = [
        f"{name} imports {other}"
        for name, others in imports().items()
        for other in others
        if room_of(name) != room_of(other) and floor[room_of(other)] >= floor[room_of(name)]
    ]
    assert sorted(climbing) == []


def test_no_modules_import_each_other() -> None:
    """Nor by way of a third."""
    try:
        graphlib.TopologicalSorter(imports()).prepare()
    except graphlib.CycleError as circle:
        pytest.fail(" imports ".join(reversed(circle.args[1])))


def test_light_rooms_import_no_celery() -> None:
    """A probe takes milliseconds, and roles plan on a machine that has Ansible and no more."""
    names = [name for name in modules() if any(name == room or name.startswith(f"{room}.") for room in LIGHT)]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(f'celerykit.{name}')\n"
        "    if heavy := {'celery', 'kombu'} & sys.modules.keys():\n"
        "        sys.exit(f'{name} imports {sorted(heavy)}')\n"
    )
    asked = [sys.executable, "-c", code, *(name.removesuffix(".__init__") for name in names if "__main__" not in name)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(asked, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_names_that_celery_is_told_are_there() -> None:
    """A class that Celery loads by its dotted name would else be missed when a worker starts."""
    files = tracked("src/**/*.py", "src/celerykit/*.py", "compose/*.yaml", "images/**", "roles/**/*.py", "systemd/*")
    named = {found for file in files for found in NAMED.findall(file.read_text(encoding="utf-8"))}
    assert len(named) > 10
    missing = [f"{module}:{name}" for module, name in sorted(named) if not hasattr(import_module(module), name)]
    assert missing == []
