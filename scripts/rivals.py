"""The image of the programs that the benchmark compares Celery with."""

from __future__ import annotations

import host
from console import run, step

FILE = "images/bench.Dockerfile"
IMAGE = "celerykit/rivals"


def build() -> None:
    """Build the image; without changes, this is quick."""
    bundle = host.ca_bundle()
    secret = ("--secret", f"id=ca,src={bundle}") if bundle else ()
    with step(f"image: {IMAGE}"):
        run(
            "build-rivals",
            [
                *("docker", "buildx", "build", "--load", "--progress", "plain", "--file", FILE),
                *secret,
                *("--tag", IMAGE, "images"),
            ],
            "See its last lines above: mostly the network, or Debian's archive",
        )
