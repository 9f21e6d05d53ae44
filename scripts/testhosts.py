"""The images of the test hosts: Debian with systemd as PID 1."""

from __future__ import annotations

import debian
import host
from console import run, step

FILE = "images/testhost.Dockerfile"
BARE = "host"
"""The target without anything of the kit: what a role is given."""


def image(suite: str, target: str = BARE) -> str:
    """Return the name of a release's image."""
    return f"celerykit/testhost-{suite}" if target == BARE else f"celerykit/testhost-{target}-{suite}"


def build(suite: str, target: str = BARE) -> None:
    """Build the image of a host, bare or with what another target of the Dockerfile has put there."""
    debian.ensure_image(suite)
    name = image(suite, target)
    bundle = host.ca_bundle()
    secret = ["--secret", f"id=ca,src={bundle}"] if bundle else []
    with step(f"image: {name}"):
        run(
            f"build-{name.removeprefix('celerykit/')}",
            [
                *("docker", "buildx", "build", "--load", "--progress", "plain", "--file", FILE, "--target", target),
                *("--build-arg", f"SUITE={suite}", *secret, "--tag", name, "."),
            ],
            "See its last lines above. On a network that inspects TLS, name its CA: CELERYKIT_CA_BUNDLE=FILE",
        )
