"""The images of the test hosts: Debian with systemd as PID 1."""

from __future__ import annotations

import debian
import host
from console import run, step

FILE = "images/testhost.Dockerfile"


def build(suite: str) -> None:
    """Build the image of a host that has the kit and its units."""
    debian.ensure_image(suite)
    name = f"celerykit/testhost-units-{suite}"
    bundle = host.ca_bundle()
    secret = ["--secret", f"id=ca,src={bundle}"] if bundle else []
    with step(f"image: {name}"):
        run(
            f"build-testhost-{suite}",
            [
                *("docker", "buildx", "build", "--load", "--progress", "plain", "--file", FILE, "--target", "units"),
                *("--build-arg", f"SUITE={suite}", *secret, "--tag", name, "."),
            ],
            "See its last lines above. On a network that inspects TLS, name its CA: CELERYKIT_CA_BUNDLE=FILE",
        )
