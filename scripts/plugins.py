"""Compose v2 and buildx as plugins of the user's Docker command, from Debian's packages, where they are missing."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import debian
import record
from console import SetupError, output_of, step
from host import version

OLDEST = {"compose": (2, 20), "buildx": (0, 9)}
"""Compose: the first that knows `include`."""

UNPACK = """
set -e
cd "$(mktemp -d)"
apt-get update -qq >&2
apt-get download -qq {packages} >&2
for package in *.deb; do dpkg-deb --extract "$package" .; done
tar --create --directory usr/libexec/docker/cli-plugins {packages}
"""


def ensure_plugins() -> None:
    """Install the missing plugins.

    :raises SetupError: if the installation fails.
    """
    missing = [name for name, oldest in OLDEST.items() if _installed(name) < oldest]
    if not missing:
        return
    debian.ensure_image()
    folder = _folder()
    with step(f"docker {' and docker '.join(missing)}: installed from Debian's packages into {folder}"):
        _install([f"docker-{name}" for name in missing], folder)
    for name in missing:
        if _installed(name) < OLDEST[name]:
            raise SetupError(
                f"'docker {name}' does not run after its installation", f"Install the plugin '{name}' yourself"
            )


def _install(packages: list[str], folder: Path) -> None:
    script = UNPACK.format(packages=" ".join(packages))
    done = subprocess.run(["docker", "run", "--rm", debian.IMAGE, "sh", "-c", script], capture_output=True, check=False)
    if done.returncode:
        raise SetupError(
            f"Debian's packages cannot be had from a container: {done.stderr.decode(errors='replace').strip()[-300:]}",
            "Check the network of containers, or install docker compose (v2.20 or newer) and buildx yourself",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive.getmembers():
            target = folder / Path(member.name).name
            if target.exists() and str(target) not in record.read(record.PLUGINS):
                raise SetupError(f"{target} is there, but too old or broken", "Remove or upgrade it, then try again")
            content = archive.extractfile(member)
            target.write_bytes(content.read() if content else b"")
            target.chmod(0o755)
            record.add(record.PLUGINS, str(target))


def _folder() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "cli-plugins"


def _installed(name: str) -> tuple[int, ...]:
    return version(output_of("docker", name, "version") or "")
