"""The images of further servers for tests: the kit supports them, but does not deploy them."""

from __future__ import annotations

import host
from console import run, step

FILE = "images/testservers.Dockerfile"


def build(target: str) -> None:
    """Build the image of memcached, or that of all servers."""
    bundle = host.ca_bundle()
    secret = ("--secret", f"id=ca,src={bundle}") if bundle else ()
    with step(f"image: celerykit/testservers:{target}"):
        run(
            f"build-testservers-{target}",
            [
                *("docker", "buildx", "build", "--load", "--progress", "plain", "--file", FILE, "--target", target),
                *secret,
                *("--tag", f"celerykit/testservers:{target}", "images"),
            ],
            "See its last lines above: mostly the network, or Debian's archive",
        )
