"""Install an app beside the kit: its requirements under the kit's locked versions, its code as a release.

``install.py requirements SOURCE TARGET`` installs the requirements of the app in ``SOURCE``.
``install.py release SOURCE ROOT`` makes ``ROOT/current`` the app in ``SOURCE``. A release is never changed once it is
there: running workers keep theirs until they are restarted, whatever happens to the source meanwhile.

Hosts use it as a module: :func:`stage` puts a release beside the current one and leaves that as it is.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFESTS = ("requirements.txt", "uv.lock", "pyproject.toml")
LEFT_OUT = frozenset({"__pycache__", ".deps", ".git", ".hg", ".svn", ".tox", ".venv", "node_modules", "venv"})
CACHES = re.compile(r"\..*_cache")
KEPT_RELEASES = 3


REMEDY = "The package index must be reachable; behind a CA of your own, name its bundle in CELERYKIT_CA_BUNDLE"


class InstallError(Exception):
    """The requirements of the app cannot be installed; the message says why."""


class UnreadableError(Exception):
    """The folder of the app cannot be read; the message says what helps."""


def main(command: str, source: str, target: str) -> int:
    """Run one command and return its exit code."""
    commands = {"requirements": install_requirements, "release": make_release}
    try:
        commands[command](Path(source), Path(target))
    except InstallError as exc:
        print(f"install: error: {exc}. {REMEDY}", file=sys.stderr)
        return 1
    except UnreadableError as exc:
        print(f"install: error: {exc}", file=sys.stderr)
        return 1
    return 0


def install_requirements(source: Path, target: Path) -> None:
    """Install what the app asks for and the kit does not have yet.

    :raises InstallError: if the requirements do not go together with the kit's locked versions.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch, "requirements.txt")
        wanted.write_text("".join(_missing(source, Path(scratch))), encoding="utf-8")
        if "==" not in wanted.read_text(encoding="utf-8"):
            print("requirements: none that the kit does not have")
            return
        install = ("pip", "install", "--no-deps", "--require-hashes", "--compile-bytecode", "--python", sys.executable)
        _uv(source, *install, "--target", str(target.resolve()), "--requirements", str(wanted))
    (target / ".lock").unlink(missing_ok=True)  # uv's, and open to everybody


def make_release(source: Path, root: Path) -> None:
    """Make the app in ``source`` the current release, unless it is."""
    unreadable = [path for path in _tree(source) if not os.access(path, os.R_OK | os.X_OK * path.is_dir())]
    if unreadable:
        shown = "" if unreadable[0] == source else f"{unreadable[0].relative_to(source)} of "
        raise UnreadableError(
            f"user {os.getuid()} of this container cannot read {shown}the app's folder. "
            "Let others read it: chmod -R go+rX FOLDER"
        )
    release = root / f"release-{_digest(source)}"
    if not release.exists():
        _build(source, root, release)
    current = root / "current"
    if not current.is_symlink() or current.readlink() != Path(release.name):
        _point(current, release.name)
        print(f"{release.name} is current. Workers that run already take it up by: docker compose restart worker beat")
    else:
        print(f"{release.name} is current already")
    _prune(root)


def stage(source: Path, root: Path, name: str) -> None:
    """Put the app in ``source`` beside the current release, under a name that the caller has for this content.

    :raises InstallError: if the requirements do not go together with the kit's locked versions.
    """
    if not (root / name).exists():
        _build(source, root, root / name)
    _prune(root)


def _build(source: Path, root: Path, release: Path) -> None:
    """Copy the code, link the requirements to it, and give it its name as the last step."""
    draft = root / f".draft-{release.name}"
    _remove(draft)
    print(f"installing {release.name}", flush=True)
    shutil.copytree(source, draft, ignore=lambda _, names: {name for name in names if _is_left_out(name)})
    _open(draft)
    (draft / ".deps").symlink_to(Path("..", _requirements(source, root).name))
    compileall.compile_dir(draft, quiet=2)
    draft.rename(release)


def _requirements(source: Path, root: Path) -> Path:
    """Return the folder of the requirements, installed anew only where a manifest or the kit has changed."""
    digest = hashlib.sha256("".join(_constraints()).encode())
    for name in MANIFESTS:
        if (source / name).exists():
            digest.update((source / name).read_bytes())
    folder = root / f"deps-{digest.hexdigest()[:12]}"
    if not folder.exists():
        draft = root / f".draft-{folder.name}"
        _remove(draft)
        install_requirements(source, draft)
        draft.rename(folder)
    return folder


def _missing(source: Path, scratch: Path) -> Iterator[str]:
    """Yield the lines of a requirements file with hashes: what the app needs less what the kit has."""
    manifest = next((source / name for name in MANIFESTS if (source / name).exists()), None)
    if manifest is None:
        return
    if manifest.name == "uv.lock":
        manifest = _exported(source, scratch)
    constraints = scratch / "constraints.txt"
    constraints.write_text("".join(_constraints()), encoding="utf-8")
    resolved = scratch / "resolved.txt"
    print(f"requirements: resolving {manifest.name}", flush=True)
    compiling = ("pip", "compile", "--quiet", "--generate-hashes", "--no-annotate", "--no-header")
    files = ("--constraints", str(constraints), "--output-file", str(resolved), manifest.name)
    _uv(manifest.parent, *compiling, "--python", sys.executable, *files)
    here = {_normal(distribution.name) for distribution in metadata.distributions()}
    taken = False
    for line in resolved.read_text(encoding="utf-8").splitlines(keepends=True):
        if name := re.match(r"([A-Za-z0-9][\w.-]*)(\[.*\])? *(==|@)", line):
            taken = _normal(name[1]) not in here
        elif line.startswith("./"):  # a wheel that lies beside its manifest
            taken = True
        if taken:
            yield line


def _exported(source: Path, scratch: Path) -> Path:
    target = scratch / "locked.txt"
    _uv(source, "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--output-file", str(target))
    return target


def _constraints() -> list[str]:
    return sorted(f"{item.name}=={item.version}\n" for item in metadata.distributions() if item.name != "celerykit")


def _uv(folder: Path, *arguments: str) -> None:
    """Run uv where the app is: a requirement may name a file that lies beside it."""
    if subprocess.run(["uv", *arguments], cwd=folder, check=False).returncode:
        raise InstallError(
            "uv could not do it, see above. Requirements must allow the versions that the kit has locked"
        )


def _digest(source: Path) -> str:
    digest = hashlib.sha256("".join(_constraints()).encode())
    for path in _tree(source):
        digest.update(f"{path.relative_to(source)}\0".encode())
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _tree(source: Path) -> Iterator[Path]:
    """Yield the folder and all that belongs to the app in it, in a fixed order."""
    yield source
    if not os.access(source, os.R_OK | os.X_OK):
        return
    for path in sorted(source.iterdir()):
        if _is_left_out(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _tree(path)
        else:
            yield path


def _is_left_out(name: str) -> bool:
    return name in LEFT_OUT or bool(CACHES.fullmatch(name))


def _point(link: Path, target: str) -> None:
    draft = link.with_name(".draft-current")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    if link.is_dir() and not link.is_symlink():
        link.rmdir()  # made by an engine that creates working directories before anything has run
    draft.replace(link)


def _prune(root: Path) -> None:
    """Remove all but the latest releases: a worker that was not restarted since may still run the one before."""
    current = (root / "current").resolve()
    for draft in root.glob(".draft-*"):
        _remove(draft)
    releases = sorted(root.glob("release-*"), key=lambda path: path.stat().st_ctime, reverse=True)
    for release in releases[KEPT_RELEASES:]:
        if release != current:
            _remove(release)
    used = {(release / ".deps").resolve() for release in root.glob("release-*")}
    for folder in root.glob("deps-*"):
        if folder.resolve() not in used:
            _remove(folder)


def _open(folder: Path) -> None:
    """Let its owner write into each folder of a copy: what is closed in the source is closed in a copy, too."""
    folder.chmod(folder.stat().st_mode | stat.S_IRWXU)
    for parent, names, _ in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | stat.S_IRWXU)


def _remove(folder: Path) -> None:
    """Remove a folder of this program's own, if it is there."""
    if folder.is_dir():
        _open(folder)
        shutil.rmtree(folder)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
