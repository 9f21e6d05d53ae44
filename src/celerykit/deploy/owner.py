"""The app that owns a host: another app is refused, which would have its jobs run by workers that do not know them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from celerykit.deploy.names import Names

INSTANCE = re.compile(r"[a-z][a-z0-9]{0,15}")
TAKEN = ("flower", "folders")
"""What comes after ``celery-`` in names that the app without a name has."""
PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379, "valkey": 6379, "amqp": 5672, "amqps": 5671, "pgmq": 5432}
NAMED = ("amqp", "amqps", "pgmq")
"""Those that have a database or virtual host by name; of others it is a number, and 0 if there is none."""
LOCAL = ("localhost", "::1")
FLOWER_PORT = "5555"
ANOTHER_PORT = "Say another, such as celery_flower_options: { port: 5556 }"


def judge(values: dict[str, Any]) -> dict[str, Any]:
    """Return ``errors``, empty if the host is free or has this app, and ``line``, by which the host knows its app."""
    app, source = str(values["app"]), _source(values["source"])
    error = _misnamed(values["instance"]) or _taken(values, app, source) or _shared(values)
    return {"errors": [error] if error else [], "line": f"{app} {source}".rstrip()}


def _misnamed(instance: str) -> str:
    if not instance or (INSTANCE.fullmatch(instance) and instance not in TAKEN):
        return ""
    problem = f"celery-{instance} is a name of the kit's own" if instance in TAKEN else "no name for units and users"
    return f"celery_instance={instance}: {problem}. Take another, of up to 16 small letters and digits, such as shop"


def _taken(values: dict[str, Any], app: str, source: str) -> str:
    """Refuse to replace another app."""
    known, place = _known(values)
    same = _same(known.split(" ", 1), [app, source])
    if not known or not app or same or values["renamed_from"] == known.split(" ")[0]:
        return ""
    name, _, came_from = known.partition(" ")
    proposed = _proposed(app, values["instance"])
    return (
        f"celery_app={app}{f' from {source}' if source else ''}: this host has another app, "
        f"{name}{f' from {came_from}' if came_from else ''}, says {place} there. Its jobs would be given to workers "
        f"that do not know them. To have both there, give this one a name, such as celery_instance: {proposed}, or "
        f"deploy it to another host; if it is the same app under another name or from another place, or is to be "
        f"replaced, set celery_app_renamed_from: {name}"
    )


def _proposed(app: str, instance: str) -> str:
    """Return a name for an app, other than the one that is taken."""
    name = re.sub(r"[^a-z0-9]", "", re.split(r"[.:]", app.lower())[0]).lstrip("0123456789")[:15]
    return f"{name}2" if name in {instance, *TAKEN} else name or "second"


def _known(values: dict[str, Any]) -> tuple[str, str]:
    """Return what the host says of itself, and where; one from before has no marker."""
    names = Names(values["instance"])
    if marker := values["marker"].strip():
        return marker, f"{names.root}/owner"
    found = re.search(r"^CELERY_APP=(.+)$", values["env"], re.MULTILINE)
    return (found[1].strip() if found else ""), f"{names.etc}/celery.env"


def _shared(values: dict[str, Any]) -> str:
    """Refuse the broker, or the port of Flower, that another app of the host has."""
    own, port = f"{Names(values['instance']).etc}/", str(values["flower_port"] or FLOWER_PORT)
    if values["flower"] and values["instance"] and port == FLOWER_PORT:
        return f"celery_flower_options.port={port}: that of the app without a name. {ANOTHER_PORT}"
    for path, text in (line.split(":", 1) for line in values["neighbours"] if not line.startswith(own)):
        if path.endswith("/broker-url") and _places(values["broker_url"]) & _places(text):
            return (
                f"celery_broker_url: that of the other app of this host, says {path} there, so that each would take "
                f"the other's jobs. Give this one a database of its own, such as /2 at its end for Redis, a virtual "
                f"host for RabbitMQ, or a server of its own by redis_port"
            )
        if values["flower"] and text == f"FLOWER_PORT={port}":
            return f"celery_flower_options.port={port}: that of another app, says {path} there. {ANOTHER_PORT}"
    return ""


def _places(urls: str) -> set[tuple[str, int, str]]:
    """Return where jobs are kept, without who asks for them: server, port, and database or virtual host."""
    found = set()
    for url in map(urlsplit, urls.split(";")):
        if url.hostname and url.scheme in PORTS:
            host = "127.0.0.1" if url.hostname in LOCAL else url.hostname
            nothing = "" if url.scheme in NAMED else "0"
            found.add((host, url.port or PORTS[url.scheme], url.path.strip("/ ") or nothing))
    return found


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
