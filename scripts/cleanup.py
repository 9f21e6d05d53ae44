"""The removal of everything that the kit has put on this machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import debian
import host
import machines
import record
import stack
from console import SetupError, output_of, say, step

FOLDERS = (".venv", ".cache", ".mypy_cache", ".pytest_cache", ".ruff_cache", "dist")


def clean() -> None:
    """Remove the stack, its volumes and images, and all installed and downloaded files."""
    try:
        host.require_engine()
    except SetupError as exc:
        say(f"containers, volumes and images stay: {exc}")
    else:
        _clean_engine()
    for path in map(Path, record.read(record.PLUGINS)):
        with step(f"removed {path}"):
            path.unlink(missing_ok=True)
    with step(f"removed {', '.join(FOLDERS)}"):
        for folder in FOLDERS:
            shutil.rmtree(folder, ignore_errors=True)
    say("Docker's build cache is shared with your other builds, so it stays: 'docker builder prune' empties it.")


def _clean_engine() -> None:
    if output_of("docker", "compose", "version"):
        stack.require_own()
        stack.remove_with_volumes()
    machines.down()
    _remove_apps()
    names = (output_of("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "celerykit/*") or "").split()
    names += filter(_made_here, map(debian.image, debian.SUITES))
    if names:
        with step(f"removed {', '.join(names)}"):
            subprocess.run(["docker", "image", "rm", *names], check=False, stdout=subprocess.DEVNULL)
    stack.remove_untagged_images()


def _remove_apps() -> None:
    """Remove containers, volumes and networks of a killed `make apps`."""
    for kind, listed in (("container", ("--all",)), ("volume", ()), ("network", ())):
        command = ("docker", kind, "ls", *listed, "--quiet", "--filter", "name=^celerykit-app-")
        if names := (output_of(*command) or "").split():
            with step(f"removed what make apps has left: {len(names)} {kind}s"):
                removed = ["docker", kind, "rm", *(["--force"] if kind == "container" else []), *names]
                subprocess.run(removed, check=False, stdout=subprocess.DEVNULL)


def _made_here(image: str) -> bool:
    identity = output_of("docker", "image", "inspect", "--format", "{{.Id}}", image)
    return identity is not None and identity in record.read(record.BASE_IMAGE)
