"""The requirements on this machine, checked before any work."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

from console import SetupError, output_of

OLDEST_ENGINE = (20, 10)
GIB = 1024**3


def require_engine() -> None:
    """Check that Docker's engine answers and is not too old.

    :raises SetupError: if it is not installed, not running, out of reach or too old.
    """
    try:
        answer = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise SetupError(
            "there is no 'docker' command",
            "Install Docker Engine: https://docs.docker.com/engine/install/ (Debian: apt-get install docker.io)",
        ) from None
    if answer.returncode:
        raise _engine_error(answer.stderr.strip())
    if version(answer.stdout) < OLDEST_ENGINE:
        raise SetupError(f"Docker Engine {answer.stdout.strip()} is too old", "Upgrade it to 20.10 or newer")


def require_disk(gibibytes: float) -> None:
    """Check that the engine's volume has room for images.

    :raises SetupError: if there is not.
    """
    root = output_of("docker", "info", "--format", "{{.DockerRootDir}}") or "."
    place = next(path for path in (Path(root), Path.cwd()) if path.exists())
    free = shutil.disk_usage(place).free / GIB
    if free < gibibytes:
        raise SetupError(
            f"{free:.1f} GiB are free in {place}, and {gibibytes:g} GiB are needed",
            "Free some: 'docker system df' shows what Docker holds, 'docker system prune' removes what nobody uses",
        )


def require_port(port: int, used_by: str) -> None:
    """Check that no program listens on a port of this machine's loopback.

    :raises SetupError: if one does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise SetupError(
                f"port {port}, which {used_by} is published on, cannot be had ({exc.strerror})",
                f"End what holds it ('ss -ltnp sport = :{port}' shows it), or take another: CELERYKIT_FLOWER_PORT=5556",
            ) from None


def ca_bundle() -> str | None:
    """Return the CA bundle in this machine's environment, for builds on networks that inspect TLS."""
    for name in ("CELERYKIT_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT"):
        if path := os.environ.get(name):
            if not Path(path).is_file():
                raise SetupError(f"{name} names {path}, which is no file", f"Correct it or unset {name}")
            return str(Path(path).resolve())
    return None


def version(text: str) -> tuple[int, ...]:
    """Return the first two numbers of a version, ``(0, 0)`` if there are none."""
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _engine_error(message: str) -> SetupError:
    if "permission denied" in message.lower():
        return SetupError(
            "you may not use Docker's socket",
            "Join the group docker, then log in again: sudo usermod --append --groups docker $USER",
        )
    return SetupError(
        f"Docker's engine does not answer ({message.splitlines()[-1] if message else 'no reason given'})",
        "Start it: sudo systemctl start docker (without systemd: sudo service docker start)",
    )
