"""Whose a host is, judged on the controller: ``owner.py`` reads what was found and told, as JSON, from its input.

The answer is JSON, too: what is wrong, and the line by which the host knows its app.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import PurePosixPath
from typing import Any

MARKER = "/opt/celery/owner"
ENV_FILE = "/etc/celery/celery.env"


def judge(told: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong, nothing if the host is free or has this app already, and the line for its marker."""
    app, source = str(told["app"]), _source(told["source"])
    line = f"{app} {source}".rstrip()
    known, place = _known(told["marker"], told["env"])
    same = _same(known.split(" ", 1), [app, source])
    if not known or not app or same or told["renamed_from"] == known.split(" ")[0]:
        return {"error": "", "line": line}
    return {"error": _taken(app, source, known, place), "line": line}


def _taken(app: str, source: str, known: str, place: str) -> str:
    name, _, came_from = known.partition(" ")
    return (
        f"celery_app={app}{f' from {source}' if source else ''}: this host has another app, "
        f"{name}{f' from {came_from}' if came_from else ''}, says {place} there. Its jobs would be given to workers "
        f"that do not know them. Deploy it to another host; or, if it is the same app under another name or from "
        f"another place, or is to be replaced, set celery_app_renamed_from: {name}"
    )


def _known(marker: str, env: str) -> tuple[str, str]:
    """Return what the host says of itself, and where; one from before has no marker."""
    if marker.strip():
        return marker.strip(), MARKER
    found = re.search(r"^CELERY_APP=(.+)$", env, re.MULTILINE)
    return (found[1].strip() if found else ""), ENV_FILE


def _same(known: list[str], now: list[str]) -> bool:
    """Whether it is the same app, in whatever module of its package, from the same kind of source or another one."""
    if re.split(r"[.:]", known[0])[0] != re.split(r"[.:]", now[0])[0]:
        return False
    before, after = ((words[1:] or [""])[0].split(" ", 1) for words in (known, now))
    return before[0] != after[0] or _name(before) == _name(after)


def _name(source: list[str]) -> str:
    """Return the name of a folder, repository or package, without the place or version that differ from day to day."""
    name = PurePosixPath((source[1:] or [""])[0]).name.removesuffix(".git")
    return re.split(r"-\d|[ <=>~!\[;@]", name)[0] if source[0] in {"wheel", "index"} else name


def _source(source: dict[str, Any]) -> str:
    """Return where an app comes from: the kind of source, and which."""
    return next((f"{kind} {source[kind]}" for kind in ("folder", "git", "wheel", "index") if source.get(kind)), "")


if __name__ == "__main__":
    json.dump(judge(json.load(sys.stdin)), sys.stdout)
