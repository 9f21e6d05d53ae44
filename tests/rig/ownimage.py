"""celerykit in an image of an app's own, as docs/images.md has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.rig.compose import ROOT

INSTALL = "RUN pip install"
WITH_CA = "RUN --mount=type=secret,id=ca,target=/ca.pem PIP_CERT=/ca.pem pip install"


def build(folder: Path, name: str) -> None:
    """Put the kit's wheel into a folder that has a ``Dockerfile``, and make the image.

    :raises AssertionError: with the end of what is said, if it cannot be made.
    """
    wheel = ("hatchling", "build", "--target", "wheel", "--directory", str(folder))
    subprocess.run([Path(sys.executable).with_name(wheel[0]), *wheel[1:]], cwd=ROOT, check=True, capture_output=True)
    bundle = os.environ.get("CELERYKIT_CA_BUNDLE", "")
    recipe = folder / "Dockerfile"
    if bundle:
        recipe.write_text(recipe.read_text(encoding="utf-8").replace(INSTALL, WITH_CA), encoding="utf-8")
    secret = ["--secret", f"id=ca,src={bundle}"] if bundle else []
    build = ["docker", "buildx", "build", "--load", "--tag", name, *secret, str(folder)]
    made = subprocess.run(build, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-3000:]
