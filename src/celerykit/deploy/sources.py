"""Where an app comes from: a folder, a git repository, a wheel or a package index, each made into files of a folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from celerykit.app import folder
from celerykit.app.errors import AppError
from celerykit.deploy import archive

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("folder", "git", "wheel", "index")
PASSWORD = re.compile(r"(://)[^@/]*@")


class SourceError(Exception):
    """The app cannot be had; the message names the variable, the value and the remedy."""


class Source(NamedTuple):
    """The files of an app."""

    content: dict[str, Path | bytes]
    left_out: tuple[str, ...] = ()
    """Files of its folder that are not deployed, with the reasons."""


def read(source: Mapping[str, Any]) -> Source:
    """Return the files of an app.

    :raises SourceError: if they cannot be had.
    """
    given = [kind for kind in KINDS if source.get(kind)]
    if len(given) != 1:
        raise _error("", ", ".join(given) or "nothing", f"not exactly one of {', '.join(KINDS)}", "Give one of them")
    kind = given[0]
    try:
        return {"folder": _folder, "git": _git, "wheel": _wheel, "index": _index}[kind](source)
    except OSError as exc:
        place = f"{exc.strerror}: {exc.filename}"
        raise _error(kind, source[kind], place, "Name what this machine, which runs Ansible, can read") from exc


def own_path(name: str) -> Path:
    """Return a path of the machine that runs Ansible.

    :raises OSError: if it is relative: a playbook, a role and an inventory would each mean another file.
    """
    path = Path(name).expanduser()
    if not path.is_absolute():
        raise OSError(errno.EINVAL, "not an absolute path, such as {{ inventory_dir }}/../myapp", name)
    return path


def _folder(source: Mapping[str, Any]) -> Source:
    path = own_path(source["folder"])
    path.stat()
    try:
        found = folder.read(path)
    except AppError as exc:
        raise _error("folder", source["folder"], str(exc), "Have whoever runs Ansible read it") from exc
    return Source(dict(found.files), tuple(f"{name}: {reason}" for name, reason in found.left_out.items()))


def _wheel(source: Mapping[str, Any]) -> Source:
    wheel = own_path(source["wheel"])
    if wheel.suffix != ".whl":
        raise _error("wheel", str(wheel), "no wheel by its name", "Name a file that ends in .whl")
    # The comment makes another file of the same name another requirement.
    wanted = f"# sha256 {hashlib.sha256(wheel.read_bytes()).hexdigest()}\n./{wheel.name}\n"
    return Source({wheel.name: wheel, "requirements.txt": wanted.encode()})


def _index(source: Mapping[str, Any]) -> Source:
    requirement = source["index"]
    if not re.fullmatch(r"[\w.-]+(\[[\w.,-]+\])?==[\w.!+-]+", requirement):
        problem = "not pinned to one version, so that hosts could differ"
        raise _error("index", requirement, problem, "Write name==version")
    return Source({"requirements.txt": f"{requirement}\n".encode()})


def _git(source: Mapping[str, Any]) -> Source:
    """Return the files of a commit; fetched here, so that hosts need neither git nor a way to the repository."""
    url, version = source["git"], str(source.get("version") or "HEAD")
    place = archive.cache() / f"git-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    with place.with_suffix(".lock").open("w") as lock, tempfile.TemporaryDirectory() as checkout:
        fcntl.flock(lock, fcntl.LOCK_EX)  # each host of a play has a process like this one
        try:
            _run("init", "--quiet", "--bare", str(place))
            _run("--git-dir", str(place), "fetch", "--quiet", "--depth", "1", "--force", url, version)
            packed = _run("--git-dir", str(place), "archive", "--format", "tar", "FETCH_HEAD")
        except subprocess.CalledProcessError as exc:
            said = PASSWORD.sub(r"\1***@", exc.stderr.decode(errors="replace").strip())
            shown = PASSWORD.sub(r"\1***@", f"{url}, version {version}")
            remedy = "version is a branch, a tag, or the full id of a commit that the server lets be fetched"
            raise _error("git", shown, said, remedy) from exc
        with tarfile.open(fileobj=io.BytesIO(packed)) as opened:
            # By attribute, which older releases of Python ignore, rather than by an argument that they refuse.
            opened.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            opened.extractall(checkout)  # noqa: S202
        return Source(archive.read(folder.read(Path(checkout)).files))


def _run(*arguments: str) -> bytes:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    return subprocess.run(["git", *arguments], capture_output=True, check=True, env=environment).stdout


def _error(kind: str, value: str, problem: str, remedy: str) -> SourceError:
    variable = f"celery_app_source.{kind}" if kind else "celery_app_source"
    return SourceError(f"{variable}={value}: {problem}. {remedy}.")
