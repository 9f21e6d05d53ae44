"""A release in ``dist``: all its files, made of one commit and tested."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import stack
from console import SetupError, output_of, run, say, step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER = Path("dist")
SOURCE = "src/celerykit/__init__.py"
"""The file with the original of the version."""
BIN = Path(".venv/bin").absolute()
IMAGES = ("celery", "installer", "redis", "rabbitmq", "postgresql", "allinone")
SEE_ABOVE = "See its last lines above"
PACKAGES = ("dpkg-query", "--show", "--showformat", "${Package} ${Version}\\n")


def make() -> None:
    """Build wheel, source archive, collection, images and their lists of packages, and test each.

    :raises SetupError: if a build or its test fails.
    """
    version, revision = _version(), _revision()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with _exported(revision) as source:
        wheel = _wheel(source, version)
        _collection(source, version)
    _try_wheel(wheel, version)
    _list_packages(version)
    _images(version, revision)
    say(f"celerykit {version} of commit {revision[:12]}:")
    for path in sorted(FOLDER.iterdir()):
        say(f"  {path}  {path.stat().st_size / 1024:,.0f} KiB")


def _version() -> str:
    """Return the version, after a check that all files have it.

    :raises SetupError: naming a file with another version.
    """
    match = re.search(r'^__version__ = "(.+)"$', Path(SOURCE).read_text(encoding="utf-8"), re.MULTILINE)
    if not match:
        raise SetupError(f"{SOURCE} does not say __version__", 'Say it there as __version__ = "1.2.3"')
    version = match[1]
    wanted = {"galaxy.yml": rf"^version: {re.escape(version)}$", "CHANGELOG.md": rf"^## \[{re.escape(version)}\] - "}
    for name, line in wanted.items():
        if not re.search(line, Path(name).read_text(encoding="utf-8"), re.MULTILINE):
            raise SetupError(f"{name} does not say version {version}", f"Say it there as in {SOURCE}")
    return version


def _revision() -> str:
    """Return the commit of the release.

    :raises SetupError: if there is none.
    """
    revision = output_of("git", "rev-parse", "HEAD")
    if not revision:
        raise SetupError("a release is made of a commit, and this folder is no clone", "Clone the repository")
    if output_of("git", "status", "--porcelain"):
        say("warning: what is not committed is not in the release")
    return revision


@contextmanager
def _exported(revision: str) -> Iterator[Path]:
    """Export the files of a commit into a folder, without untracked files such as passwords and results of tests."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "source.tar")
        subprocess.run(["git", "archive", "--output", str(archive), revision], check=True)
        source = Path(folder, "source")
        shutil.unpack_archive(archive, source)
        yield source


def _wheel(source: Path, version: str) -> Path:
    """Build the wheel and the source archive, and a second wheel from the archive.

    :raises SetupError: if the two wheels differ.
    """
    with step("wheel and source archive, and the one made of the other"):
        _build_wheel(source, FOLDER, "--target", "sdist")
        wheel = FOLDER / f"celerykit-{version}-py3-none-any.whl"
        with tempfile.TemporaryDirectory() as folder:
            shutil.unpack_archive(FOLDER / f"celerykit-{version}.tar.gz", folder)
            _build_wheel(Path(folder, f"celerykit-{version}"), Path(folder))
            if Path(folder, wheel.name).read_bytes() != wheel.read_bytes():
                raise SetupError("the source archive builds another wheel", "Compare both: python -m zipfile --list")
    return wheel


def _build_wheel(source: Path, folder: Path, *also: str) -> None:
    command = (str(BIN / "hatchling"), "build", "--target", "wheel", *also, "--directory", str(folder.absolute()))
    _run_in(source, command)


def _try_wheel(wheel: Path, version: str) -> None:
    """Install the wheel into an empty virtualenv, and check its ``--version``.

    :raises SetupError: if it prints another version.
    """
    with step("wheel in an empty virtualenv"), tempfile.TemporaryDirectory() as folder:
        uv = str(BIN / "uv")
        run("dist-venv", [uv, "venv", "--clear", "--python", sys.executable, folder], SEE_ABOVE)
        run("dist-install", [uv, "pip", "install", "--python", folder, str(wheel)], SEE_ABOVE)
        output = output_of(f"{folder}/bin/celerykit", "--version")
        if output != f"celerykit {version}":
            raise SetupError(f"its celerykit --version says {output}", "Run the wheel in a virtualenv of your own")


def _collection(source: Path, version: str) -> None:
    """Build the collection, and list the tasks of its playbook from another folder.

    :raises SetupError: if a role is not found there.
    """
    with step("collection, installed elsewhere"), tempfile.TemporaryDirectory() as folder:
        galaxy = (str(BIN / "ansible-galaxy"), "collection")
        _run_in(source, (*galaxy, "build", "--output-path", str(FOLDER.absolute())))
        archive = str((FOLDER / f"celerykit-kit-{version}.tar.gz").absolute())
        _run_in(Path(folder), (*galaxy, "install", "--offline", "-p", folder, archive))
        inventory = f"{folder}/ansible_collections/celerykit/kit/playbooks/inventories/single"
        listed = (str(BIN / "ansible-playbook"), "--list-tasks", "--inventory", inventory, "celerykit.kit.site")
        output = _run_in(Path(folder), ("env", f"ANSIBLE_COLLECTIONS_PATH={folder}", *listed))
        if missing := [
            path.name for path in (source / "roles").iterdir() if f"celerykit.kit.{path.name} :" not in output
        ]:
            raise SetupError(f"its playbook does not find {', '.join(missing)}", "Look at build_ignore in galaxy.yml")


def _list_packages(version: str) -> None:
    """Write the list of Python packages that the images install, in CycloneDX."""
    target = FOLDER / f"celerykit-{version}.cdx.json"
    with step("list of its Python packages"):
        options = ("--frozen", "--no-dev", "--all-extras", "--format", "cyclonedx1.5", "--output-file", str(target))
        run("dist-sbom", [str(BIN / "uv"), "export", "--preview-features", "sbom-export", *options], SEE_ABOVE)
        json.loads(target.read_text(encoding="utf-8"))


def _images(version: str, revision: str) -> None:
    """Build the images, name each by its version, and list the packages of Debian in it."""
    stack.build()
    stack.build_rabbitmq()
    stack.build_postgresql()
    stack.build_allinone()
    values = {"version": version, "revision": revision}
    labels = [word for name, text in values.items() for word in ("--label", f"org.opencontainers.image.{name}={text}")]
    with step(f"images named by version {version}"):
        for name in IMAGES:
            tag = f"celerykit/{name}:{version}"
            command = ("docker", "build", "--quiet", *labels, "--tag", tag, "-")
            subprocess.run(command, input=f"FROM celerykit/{name}\n", text=True, check=True, stdout=subprocess.DEVNULL)
            listed = output_of("docker", "run", "--rm", "--entrypoint", PACKAGES[0], tag, *PACKAGES[1:])
            if not listed:
                raise SetupError(f"{tag} does not list its packages", f"docker run --rm --entrypoint sh -it {tag}")
            (FOLDER / f"{name}-{version}.packages.txt").write_text(f"{listed}\n", encoding="utf-8")


def _run_in(folder: Path, command: Sequence[str]) -> str:
    """Run a program in a folder and return its output.

    :raises SetupError: with its last lines, if it fails.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        output = (done.stdout + done.stderr).strip()[-1000:]
        raise SetupError(f"{Path(command[0]).name} failed: {output}", SEE_ABOVE)
    return done.stdout
