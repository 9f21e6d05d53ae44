"""The images of the test hosts: Debian with ssh and an init system as PID 1, and nothing of the kit."""

from __future__ import annotations

import debian
from console import run, step

FILE = "images/testhost.Dockerfile"
KINDS = {
    **{suite: (suite, "systemd") for suite in debian.SUITES},
    **{f"{debian.SUITE}-{init}": (debian.SUITE, init) for init in ("sysvinit", "bare")},
}
"""The release of Debian and the init system of each."""


def image(kind: str) -> str:
    """Return the name of a host's image."""
    return f"celerykit/testhost-{kind}"


def build(kind: str) -> None:
    """Build the image of a host."""
    suite, init = KINDS[kind]
    debian.ensure_image(suite)
    with step(f"image: {image(kind)}"):
        run(
            f"build-testhost-{kind}",
            [
                *("docker", "buildx", "build", "--load", "--progress", "plain", "--file", FILE, "--target", init),
                *("--build-arg", f"SUITE={suite}", "--tag", image(kind), "images"),
            ],
            "See its last lines above: mostly the network, or Debian's archive",
        )
