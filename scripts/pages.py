"""The site of the docs: made by MkDocs in a virtualenv of its own, because nothing else needs it."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from console import run, say, step

REQUIREMENTS = Path("scripts/website/requirements.txt")
FOLDER = Path(".cache/website")
STAMP = FOLDER / ".celerykit"
SITE = Path("dist/site")


def build() -> None:
    """Build the site, and fail at a link or an anchor without a target.

    :raises SetupError: with the last lines of MkDocs.
    """
    _ensure_mkdocs()
    with step(f"site of the docs: {SITE}/index.html"):
        environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # it is pinned
        command = [f"{FOLDER}/bin/mkdocs", "build"]
        run("mkdocs", command, "A line above names the page and the link: mend it there", environ)
    say(f"to read it: {SITE.absolute()}/index.html")


def _ensure_mkdocs() -> None:
    wanted = hashlib.sha256(sys.version.encode() + REQUIREMENTS.read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted:
        return
    with step("virtualenv with MkDocs"):
        uv, remedy = ".venv/bin/uv", "Check the network; behind a CA of your own, name its bundle in SSL_CERT_FILE"
        run("mkdocs-venv", [uv, "venv", "--clear", "--python", sys.executable, str(FOLDER)], remedy)
        options = ("--python", str(FOLDER), "--require-hashes", "--requirement", str(REQUIREMENTS))
        run("mkdocs-install", [uv, "pip", "install", *options], remedy)
        STAMP.write_text(wanted, encoding="utf-8")
