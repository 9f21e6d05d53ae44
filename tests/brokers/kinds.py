"""The brokers and result backends that the kit reaches and does not stand up, and what a test of each needs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celerykit import brokers
from celerykit.brokers import Promise, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MEMCACHED_IMAGE, SERVERS_IMAGE = "celerykit/testservers:memcached", "celerykit/testservers:all"
MOTO = "moto[server]"
"""Stands in for Amazon, in the workers' own image."""
AMAZON = "python -c \"from moto.server import main; main(['--host', '0.0.0.0', '--port', '5000'])\""
LOGIN = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
FOLDER = "/var/lib/celery"


@dataclass(frozen=True)
class Kind:
    """A broker or result backend: its URL, and what it takes."""

    name: str
    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the broker's transport is told, or the app of its result backend."""
    also: str = ""
    """A requirement beside those that the kit names: a driver, or a server that is a Python package."""
    server: str = ""
    """The command of its server, in a container by the name of server."""
    image: str = ""
    """The image of the server, the workers' own if there is none."""
    port: int = 0

    @property
    def packages(self) -> Iterator[str]:
        """What an app needs for it, as the kit says."""
        yield from (*_of(brokers.BROKERS, self.url).package.split(), self.also)

    @property
    def promise(self) -> Promise:
        """What the kit says of it as a broker."""
        return _of(brokers.BROKERS, self.url).promise


class Backend(Kind):
    """A result backend."""

    @property
    def packages(self) -> Iterator[str]:
        """What an app needs for it, as the kit says."""
        if self.url:
            yield from (*_of(brokers.BACKENDS, self.url).package.split(), self.also)


def _of(servers: Sequence[Server], url: str) -> Server:
    found = brokers.find(servers, url)
    assert found is not None, url
    return found


SQS = Kind(
    "Amazon SQS",
    "sqs://any:any@server:5000",
    {"region": "us-east-1", "is_secure": False, "wait_time_seconds": 1},
    MOTO,
    AMAZON,
    port=5000,
)
SQLITE = Kind("SQLAlchemy on SQLite", f"sqla+sqlite:///{FOLDER}/jobs.sqlite")
FILES = Kind(
    "filesystem",
    "filesystem://",
    {"data_folder_in": FOLDER, "data_folder_out": FOLDER, "control_folder": f"{FOLDER}/control"},
)

IN_REDIS = Backend("Redis", "redis://")
IN_MEMCACHED = Backend(
    "memcached",
    "cache+memcached://server:11211/",
    server="exec memcached -l 0.0.0.0",
    image=MEMCACHED_IMAGE,
    port=11211,
)
IN_SQLITE = Backend("SQLAlchemy on SQLite", f"db+sqlite:///{FOLDER}/results.sqlite")
IN_FILES = Backend("filesystem", f"file://{FOLDER}")
IN_REPLIES = Backend("the sender's own queue", "rpc://")
NOWHERE = Backend("none", "")


def settings(kind: Kind) -> dict[str, str]:
    """Return the variables of a worker of the app that are of this kind."""
    name = "APP_SETTINGS" if isinstance(kind, Backend) else "BROKER_OPTIONS"
    return {name: json.dumps(kind.options), **LOGIN}
