"""Where an app comes from: a folder, a git repository, a wheel or a package index, each made into files of a folder."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pack

if TYPE_CHECKING:
    from collections.abc import Mapping

sys.path.insert(0, str(Path(__file__).resolve().parent / "kit"))
from install import _is_left_out as is_left_out

KINDS = ("folder", "git", "wheel", "index")
PASSWORD = re.compile(r"(://)[^@/]*@")


class SourceError(Exception):
    """The app cannot be had; the message names the variable, the value and the remedy."""


def content(source: Mapping[str, Any]) -> dict[str, Path | bytes]:
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


def _folder(source: Mapping[str, Any]) -> dict[str, Path | bytes]:
    return dict(pack.files(Path(source["folder"]).expanduser(), is_left_out))


def _wheel(source: Mapping[str, Any]) -> dict[str, Path | bytes]:
    wheel = Path(source["wheel"]).expanduser()
    if wheel.suffix != ".whl":
        raise _error("wheel", str(wheel), "no wheel by its name", "Name a file that ends in .whl")
    # The comment makes another file of the same name another requirement.
    wanted = f"# sha256 {hashlib.sha256(wheel.read_bytes()).hexdigest()}\n./{wheel.name}\n"
    return {wheel.name: wheel, "requirements.txt": wanted.encode()}


def _index(source: Mapping[str, Any]) -> dict[str, Path | bytes]:
    requirement = source["index"]
    if not re.fullmatch(r"[\w.-]+(\[[\w.,-]+\])?==[\w.!+-]+", requirement):
        problem = "not pinned to one version, so that hosts could differ"
        raise _error("index", requirement, problem, "Write name==version")
    return {"requirements.txt": f"{requirement}\n".encode()}


def _git(source: Mapping[str, Any]) -> dict[str, Path | bytes]:
    """Return the files of a commit; fetched here, so that hosts need neither git nor a way to the repository."""
    url, version = source["git"], source.get("version") or "HEAD"
    place = pack.cache() / f"git-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    if not place.exists():
        _run("init", "--quiet", "--bare", str(place))
    try:
        _run("--git-dir", str(place), "fetch", "--quiet", "--depth", "1", "--force", url, str(version))
        commit = "FETCH_HEAD"
    except subprocess.CalledProcessError as exc:
        said, shown = (PASSWORD.sub(r"\1***@", text) for text in (exc.stderr.strip(), f"{url}, version {version}"))
        remedy = "version is a branch, a tag, or the full id of a commit that the server lets be fetched"
        raise _error("git", shown, said, remedy) from exc
    tree = _run("--git-dir", str(place), "ls-tree", "-r", "-z", "--full-tree", commit).split("\0")
    found: dict[str, Path | bytes] = {}
    for line in filter(None, tree):
        (mode, kind, name), path = line.partition("\t")[0].split(), line.partition("\t")[2]
        if kind == "blob" and mode != "120000" and not any(map(is_left_out, Path(path).parts)):
            found[path] = _blob(place, name)
    return found


def _blob(place: Path, name: str) -> bytes:
    command = ["git", "--git-dir", str(place), "cat-file", "blob", name]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _run(*arguments: str) -> str:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, env=environment)
    return done.stdout


def _error(kind: str, value: str, problem: str, remedy: str) -> SourceError:
    variable = f"celery_app_source.{kind}" if kind else "celery_app_source"
    return SourceError(f"{variable}={value}: {problem}. {remedy}.")
