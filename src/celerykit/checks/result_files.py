"""Result backends in a file or folder of this machine: the worker's user must be able to write there."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celerykit.brokers import catalogue
from celerykit.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = re.compile(r"file://(?:localhost)?(?P<path>/[^?]*)")
"""A result backend of Celery's that keeps each result in a file of this folder."""
DATABASE = re.compile(r"(?:db\+)?sqlite(?:\+\w+)?://(?:/(?P<path>[^?]*))?(?:\?.*)?")
"""A database in a file, as SQLAlchemy names it; a path that begins with no slash is relative."""
NEXT = "Name one that this user can write, or a server such as Redis"


def unwritable(app: Any, where: str) -> Iterator[Finding]:
    """Yield a finding if this user cannot write the results of finished jobs.

    :param where: the file of the app, for messages.
    """
    url = str(app.conf.result_backend or "")
    if match := FOLDER.fullmatch(url):
        problem = _problem_of_folder(Path(match["path"]))
    elif match := DATABASE.fullmatch(url):
        problem = _problem_of_database(match["path"] or "")
    else:
        return
    if problem:
        yield Finding(catalogue.backend_variable(url), url, where, f"no result is kept: {problem}", NEXT)


def _problem_of_folder(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder}"
    return "" if _may_write(folder) else f"{_user()} may not write {folder}"


def _problem_of_database(name: str) -> str:
    if name in {"", ":memory:"}:
        return "a database in memory is read by no other process"
    file = Path(name).absolute()
    # SQLite writes a journal beside the database.
    if problem := _problem_of_folder(file.parent):
        return problem
    return f"{_user()} may not write {file}" if file.exists() and not _may_write(file) else ""


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=True)


def _user() -> str:
    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"user {os.geteuid()}"
