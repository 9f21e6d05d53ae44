"""Records of long runs: what is finished is kept for when they go on; with what and on what they were made."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker

from tests.rig.containers import CELERY_IMAGE, REDIS_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DOCS = Path(__file__).parents[2] / "docs"
ASK = (
    "import celery, celerykit, json, kombu, platform, redis; "
    "print(json.dumps({module.__name__: module.__version__ for module in (celerykit, celery, kombu, redis)} "
    "| {'python': platform.python_version()}))"
)


class Record:
    """The results of all parts of a run, each under its name and as JSON has them."""

    def __init__(self, name: str):
        self.file = DOCS / f"{name}.json"
        self._unfinished = Path(".cache") / name

    def read(self) -> dict[str, Any]:
        """Return the last whole run."""
        return dict(json.loads(self.file.read_text(encoding="utf-8"))) if self.file.exists() else {}

    def resume(self, name: str, wanted: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a part of the run under way, made now if it is not there or is not as wanted."""
        file = self._unfinished / f"{name}.json"
        if file.exists():
            held: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if {key: held.get(key) for key in wanted} == wanted:
                print(f"{name}: done already, by the run that was interrupted", flush=True)
                return held
        made = {**wanted, **make()}
        self._unfinished.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(made), encoding="utf-8")
        return made

    def replace(self, name: str, part: dict[str, Any]) -> None:
        """Put a part that was made anew into the last whole run."""
        self.file.write_text(json.dumps({**self.read(), name: part}, indent=1) + "\n", encoding="utf-8")

    def write(self, parts: dict[str, Any]) -> None:
        """End the run under way: this is the last whole run now."""
        self.file.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(self._unfinished, ignore_errors=True)


def versions() -> dict[str, str]:
    """Return what the images hold."""
    engine = docker.from_env()
    told = json.loads(engine.containers.run(CELERY_IMAGE, ["-c", ASK], entrypoint="python", remove=True))
    server = engine.containers.run(REDIS_IMAGE, ["--version"], remove=True).decode().split()
    told["redis-server"] = next(word.removeprefix("v=") for word in server if word.startswith("v="))
    told["image"] = engine.images.get(CELERY_IMAGE).id.removeprefix("sha256:")[:12]
    return {("redis-py" if name == "redis" else name): version for name, version in told.items()}


def machine() -> dict[str, Any]:
    """Return what rates and times depend on."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": (models or [platform.machine()])[0],
        "memory": round(memory / 2**30),
        "kernel": platform.release(),
    }


def markdown(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table of Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


def place(machine: dict[str, Any], versions: dict[str, str]) -> str:
    """Say in words where and with what a run was made."""
    held = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{machine['cores']} cores ({machine['cpu']}), {machine['memory']} GiB, Linux {machine['kernel']}; {held}"
