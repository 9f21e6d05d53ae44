"""Archives that are named after their content: files that are alike make one archive, on any machine."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EPOCH = (1980, 1, 1, 0, 0, 0)
KEPT = 8
"""Archives of this name that stay in the cache: hosts of one play may differ."""


class Program(bytes):
    """What an executable file holds."""


def cache() -> Path:
    """Return a folder of the user's own."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "celerykit")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def files(folder: Path, is_left_out: Callable[[str], bool]) -> dict[str, Path]:
    """Return every file below a folder by its name in an archive; links are followed."""
    found = {}
    for path in sorted(folder.iterdir()):
        if is_left_out(path.name):
            continue
        if path.is_dir():
            found.update({f"{path.name}/{name}": file for name, file in files(path, is_left_out).items()})
        else:
            found[path.name] = path
    return found


def digest(content: Mapping[str, Path | bytes]) -> str:
    """Return a short name for what the files hold and who may run them."""
    total = hashlib.sha256()
    for name, source in sorted(content.items()):
        total.update(f"{name}\0{_is_executable(source):d}".encode() + hashlib.sha256(_bytes(source)).digest())
    return total.hexdigest()[:12]


def pack(kind: str, content: Mapping[str, Path | bytes]) -> Path:
    """Return the archive of the files, made if it is not in the cache."""
    target = cache() / f"{kind}-{digest(content)}.zip"
    if not target.exists():
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, source in sorted(content.items()):
                member = zipfile.ZipInfo(name, EPOCH)
                member.external_attr = (0o100755 if _is_executable(source) else 0o100644) << 16
                member.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(member, _bytes(source))
        draft.chmod(0o600)
        draft.replace(target)
    target.touch()
    _forget_old(kind)
    return target


def read(content: Mapping[str, Path | bytes]) -> dict[str, Path | bytes]:
    """Return the content of the files, for files that are about to go."""
    return {name: (Program if _is_executable(file) else bytes)(_bytes(file)) for name, file in content.items()}


def text(content: Mapping[str, Path | bytes], name: str) -> str:
    """Return what a file says, nothing if it is not among them."""
    return _bytes(content[name]).decode(errors="replace") if name in content else ""


def _is_executable(source: Path | bytes) -> bool:
    return isinstance(source, Program) if isinstance(source, bytes) else os.access(source, os.X_OK)


def _bytes(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _forget_old(kind: str) -> None:
    found = sorted(cache().glob(f"{kind}-*.zip"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[KEPT:]:
        path.unlink(missing_ok=True)
