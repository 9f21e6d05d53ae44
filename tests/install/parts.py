"""Packages that no index has, and apps that need them: made here, so that an installation asks nobody else."""

from __future__ import annotations

import base64
import http.server
import threading
import zipfile
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

BACKEND = """\
import pathlib, re, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    told = pathlib.Path("pyproject.toml").read_text()
    name, version = (re.search(rf'^{key} = "(.+)"', told, re.M)[1] for key in ("name", "version"))
    told = pathlib.Path("needs.txt")
    needs = told.read_text().split() if told.exists() else []
    info, file = f"{name}-{version}.dist-info", f"{name}-{version}-py3-none-any.whl"
    pathlib.Path("written-by-the-build").touch()
    with zipfile.ZipFile(pathlib.Path(folder, file), "w") as wheel:
        for path in sorted((pathlib.Path("src") if pathlib.Path("src").exists() else pathlib.Path()).rglob("*.py")):
            if path.name not in ("backend.py", "setup.py"):
                wheel.write(path, str(path).removeprefix("src/"))
        lines = "".join(f"Requires-Dist: {need}\\n" for need in needs)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{lines}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return file

build_editable = build_wheel
"""
"""A build backend that needs no other package."""
BUILD = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def wheel(
    folder: Path, name: str, version: str, *needs: str, code: str = "", program: str = "", extras: Iterable[str] = ()
) -> Path:
    """Write a wheel with one module, which knows its version."""
    folder.mkdir(parents=True, exist_ok=True)
    info, file = f"{name}-{version}.dist-info", folder / f"{name}-{version}-py3-none-any.whl"
    lines = "".join(f"Requires-Dist: {need}\n" for need in needs)
    lines += "".join(f"Provides-Extra: {extra}\n" for extra in extras)
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(f"{name}.py", code or f"VALUE = '{version}'\ndef main(): print(VALUE)\n")
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}")
        made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        if program:
            made.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{program} = {name}:main\n")
        made.writestr(f"{info}/RECORD", "")
    return file


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write a folder of files, and return it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def project(name: str, *, project: str = "", module: str = "VALUE = 1\n", at: str = "") -> dict[str, str]:
    """Return the files of a folder that is built by the backend here."""
    told = f'[project]\nname = "{name}"\nversion = "1.4"\n{project}{BUILD}'
    return {f"{at}pyproject.toml": told, f"{at}backend.py": BACKEND, f"{at}src/{name}/__init__.py": module}


class _Closed(http.server.SimpleHTTPRequestHandler):
    """Shows folders, as the simplest of indexes, to who has the login."""

    login = ""

    def do_GET(self) -> None:
        """Answer, or ask for the login."""
        if self.headers.get("Authorization") == f"Basic {self.login}":
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Basic realm=index")
        self.end_headers()
        return None

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def closed_index(folder: Path, user: str, password: str) -> Iterator[str]:
    """Serve a folder of packages to one user, and yield the address."""
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    handler = partial(type("Handler", (_Closed,), {"login": login}), directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
