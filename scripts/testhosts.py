"""The images of the test hosts: Debian with systemd as PID 1 and ssh, and nothing of the kit."""

from __future__ import annotations

import debian
from console import run, step

FILE = "images/testhost.Dockerfile"
SYSVINIT = "celerykit/testhost-sysvinit"


def image(suite: str) -> str:
    """Return the name of a release's image."""
    return f"celerykit/testhost-{suite}"


def build(suite: str) -> None:
    """Build the image of a host."""
    debian.ensure_image(suite)
    with step(f"image: {image(suite)}"):
        run(
            f"build-testhost-{suite}",
            [
                *("docker", "buildx", "build", "--load", "--progress", "plain", "--file", FILE),
                *("--build-arg", f"SUITE={suite}", "--tag", image(suite), "images"),
            ],
            "See its last lines above: mostly the network, or Debian's archive",
        )


def build_sysvinit() -> None:
    """Build the image of a host without systemd; it stands on ``celerykit/celery``."""
    with step(f"image: {SYSVINIT}"):
        run(
            "build-testhost-sysvinit",
            [
                *("docker", "buildx", "build", "--load", "--progress", "plain"),
                *("--file", "images/testhost-sysvinit.Dockerfile", "--tag", SYSVINIT, "."),
            ],
            "See its last lines above: mostly the network, or Debian's archive",
        )
