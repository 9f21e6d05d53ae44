"""Install on a host what the archive that this file is in brings: ``python3 celerykit.pyz COMMAND ...``.

``kit VENV`` makes the virtualenv of the kit, every file checked by its hash; ``app ARCHIVE ROOT RELEASE`` puts a
release of the app beside those that are there. Neither changes what runs. How to reach a package index is read from the
input, as JSON, and stays nowhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(*Path(sys.argv[0]).parts[:3])
"""The folder of the app in which this archive is: ``/opt/celery``, or ``/opt/celery-shop``."""
TOOLS = ROOT / "tools"
KEPT_VENVS = 3
PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*@")
REMEDY = (
    "The package index must be reachable from this host: name a CA bundle in celery_ca_bundle, an index of your own in "
    "celery_index_url, or a folder of wheels in celery_wheelhouse"
)


class StageError(Exception):
    """Something cannot be installed; the message says why and what helps."""


def main(command: str, *arguments: str) -> int:
    """Run one command and return its exit code."""
    os.umask(0o022)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    ROOT.mkdir(exist_ok=True)
    ROOT.chmod(0o755)  # Ansible, which was here first, may have a umask of its own
    try:
        with tempfile.TemporaryDirectory(prefix=".staging-", dir=ROOT) as scratch:
            reach(json.load(sys.stdin), Path(scratch))
            COMMANDS[command](Path(scratch), *arguments)
    except StageError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


def reach(network: dict[str, str], scratch: Path) -> None:
    """Tell pip and uv, in the environment, how to reach packages."""
    os.environ.update(
        PATH=f"{TOOLS}/bin:{os.environ['PATH']}",
        TMPDIR=str(scratch),
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_CACHE_DIR=str(scratch / "pip"),
        UV_CACHE_DIR=str(scratch / "uv"),
        UV_COMPILE_BYTECODE="1",
        UV_NO_PROGRESS="1",
        UV_PYTHON_DOWNLOADS="never",
    )
    if network.get("ca"):
        trusted = scratch / "trusted.pem"
        own = ssl.get_default_verify_paths().cafile
        trusted.write_text((Path(own).read_text(encoding="utf-8") if own else "") + network["ca"], encoding="utf-8")
        os.environ.update(SSL_CERT_FILE=str(trusted), PIP_CERT=str(trusted))
    if network.get("index_url"):
        index = urllib.parse.urlsplit(network["index_url"])
        os.environ.update(PIP_INDEX_URL=network["index_url"], UV_DEFAULT_INDEX=network["index_url"])
        if index.scheme == "http":  # all that pip gets here is checked by its hash
            os.environ["PIP_TRUSTED_HOST"] = index.netloc.rpartition("@")[2]
    if network.get("wheelhouse"):
        wheels = scratch / "wheels"
        unpack(Path(network["wheelhouse"]), wheels)
        os.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels), UV_OFFLINE="1", UV_FIND_LINKS=str(wheels))


def make_kit(scratch: Path, venv: str) -> None:
    """Make the virtualenv, whole as soon as this archive is in it."""
    target, source = Path(venv), scratch / "kit"
    unpack(Path(sys.argv[0]), source)
    make_tools(source / "tools.txt")
    shutil.rmtree(target, ignore_errors=True)
    locked = scratch / "locked.txt"
    extras = [f"--extra={name}" for name in (source / "extras.txt").read_text(encoding="utf-8").split()]
    export = ("export", "--quiet", "--frozen", "--no-dev", *extras, "--no-emit-project", "--no-header")
    run("uv", *export, "--project", str(source), "--output-file", str(locked))
    run("uv", "venv", "--quiet", "--python", sys.executable, str(target))
    install = ("uv", "pip", "install", "--quiet", "--python", f"{target}/bin/python")
    run(*install, "--require-hashes", "--requirements", str(locked))
    wanted = source / "requirement.txt"
    if wanted.exists():
        run(*install, "--no-deps", "--requirements", str(wanted))
    else:
        run("hatchling", "build", "-t", "wheel", "-d", str(scratch / "dist"), cwd=source)
        run(*install, "--no-deps", "--offline", *map(str, (scratch / "dist").glob("*.whl")))
    (packages,) = target.glob("lib/python3.*/site-packages")
    shutil.copy(source / "celerykit-app.pth", packages)
    run(f"{target}/bin/celerykit", "--version")
    shutil.copy(sys.argv[0], f"{target}/.draft.pyz")
    Path(f"{target}/.draft.pyz").rename(target / "celerykit.pyz")
    forget_old_venvs(keep=target)


def make_tools(wanted: Path) -> None:
    """Have uv and the build backend in a virtualenv of their own."""
    stamp = TOOLS / "celerykit.sha256"
    digest = hashlib.sha256(sys.version.encode() + wanted.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
        return
    shutil.rmtree(TOOLS, ignore_errors=True)
    run(sys.executable, "-m", "venv", str(TOOLS))
    run(f"{TOOLS}/bin/pip", "install", "--quiet", "--require-hashes", "--requirement", str(wanted))
    stamp.write_text(digest, encoding="utf-8")


def make_app(scratch: Path, archive: str, root: str, release: str) -> None:
    """Put a release of the app beside the others."""
    from celerykit.app import errors
    from celerykit.app import release as releases

    source = scratch / "app"
    unpack(Path(archive), source)
    Path(root).mkdir(parents=True, exist_ok=True)
    try:
        releases.stage(source, Path(root), release)
    except errors.AppError as exc:
        raise StageError(exc.describe(errors.HOST)) from exc


def forget_old_venvs(keep: Path) -> None:
    """Remove all but the latest, and those that a process still runs: the umbrella is not restarted with its pools."""
    current = (ROOT / "venv").resolve()
    venvs = sorted(keep.parent.iterdir(), key=lambda path: path.stat().st_ctime, reverse=True)
    for venv in venvs[KEPT_VENVS:]:
        if venv not in {keep, current} and not is_running(venv):
            shutil.rmtree(venv)


def is_running(venv: Path) -> bool:
    """Say whether a process was started from a virtualenv."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if f"{venv}/".encode() in path.read_bytes():
                return True
    return False


def unpack(archive: Path, target: Path) -> None:
    """Unpack an archive with the rights that its files had."""
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            path = Path(opened.extract(member, target))
            path.chmod(0o755 if member.external_attr >> 16 & 0o111 else 0o644)


def run(*command: str, cwd: Path | None = None) -> None:
    """Run a program, and say what it said if it fails."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        said = PASSWORD.sub(r"\1***@", done.stdout.strip())
        raise StageError(f"'{' '.join(command[:3])} ...' failed: {said}. {REMEDY}")


COMMANDS: dict[str, Callable[..., None]] = {"kit": make_kit, "app": make_app}

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
