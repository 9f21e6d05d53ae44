"""The brokers and result backends under test, what each needs, and what is known of each."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from celerykit.brokers import catalogue
from celerykit.brokers.catalogue import Promise, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MEMCACHED_IMAGE, SERVERS_IMAGE = "celerykit/testservers:memcached", "celerykit/testservers:all"
MOTO = "moto[dynamodb,s3] flask flask-cors"
"""Stands in for Amazon, in the workers' own image; the last two are its server's."""
AMAZON = "python -c \"from moto.server import main; main(['--host', '0.0.0.0', '--port', '5000'])\""
LOGIN = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
FOLDER = "/var/lib/celery"
IGNORED, HIGH_FIRST, LOW_FIRST, MIXED = "ignored", "9 before 0", "0 before 9", "mixed"
DEBIAN = "dpkg-query --show --showformat '${Version}' "
PYPI = "/opt/servers/bin/pip show %s | sed -n 's/^Version:/stand-in: %s/p'"
MARIADB_SERVER: Any = {
    "also": "pymysql",
    "server": "exec /opt/mariadb",
    "image": SERVERS_IMAGE,
    "port": 3306,
    "version": DEBIAN + "mariadb-server-core",
}
MOTO_VERSION = "python -c 'import moto; print(\"stand-in: moto\", moto.__version__)'"


@dataclass(frozen=True)
class Kind:
    """A broker or result backend: its URL, and what it takes."""

    name: str
    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the broker's transport is told, or the app of its result backend."""
    also: str = ""
    """Requirements beside those that the kit names: a driver, or a server that is a Python package."""
    server: str = ""
    """The command of its server, in a container by the name of server."""
    image: str = ""
    """The image of the server, the workers' own if there is none."""
    port: int = 0
    version: str = ""
    """The command that tells the server's version."""
    keeps: bool = False
    """Whether there is a server that has its jobs on disk."""
    priorities: str = IGNORED
    remote_control: bool = False

    part = "brokers"
    """Of the record, and of docs/brokers.md."""

    @property
    def packages(self) -> Iterator[str]:
        """What an app needs for it, as the kit says."""
        yield from (*_of(catalogue.BROKERS, self.url).package.split(), *self.also.split())

    @property
    def promise(self) -> Promise:
        """What the kit says of it as a broker."""
        return _of(catalogue.BROKERS, self.url).promise


class Backend(Kind):
    """A result backend."""

    part = "backends"

    @property
    def packages(self) -> Iterator[str]:
        """What an app needs for it, as the kit says."""
        if self.url:
            yield from (*_of(catalogue.BACKENDS, self.url).package.split(), *self.also.split())


def _of(servers: Sequence[Server], url: str) -> Server:
    found = catalogue.find(servers, url)
    assert found is not None, url
    return found


REDIS = Kind(
    "Redis", "redis://", version=DEBIAN + "redis-server", keeps=True, priorities=LOW_FIRST, remote_control=True
)
RABBITMQ = Kind(
    "RabbitMQ", "amqp://", version=DEBIAN + "rabbitmq-server", keeps=True, priorities=MIXED, remote_control=True
)
PGMQ = Kind("PGMQ", "pgmq://", {"init_extension": False}, version=DEBIAN + "postgresql-17", keeps=True)
SQS = Kind(
    "Amazon SQS",
    "sqs://any:any@server:5000",
    {"region": "us-east-1", "is_secure": False, "wait_time_seconds": 1},
    MOTO,
    AMAZON,
    port=5000,
    version=MOTO_VERSION,
)
SQLITE = Kind("SQLAlchemy on SQLite", f"sqla+sqlite:///{FOLDER}/jobs.sqlite")
FILES = Kind(
    "filesystem",
    "filesystem://",
    {"data_folder_in": FOLDER, "data_folder_out": FOLDER, "control_folder": f"{FOLDER}/control"},
    remote_control=True,
)
MARIADB = Kind(
    "SQLAlchemy on MariaDB", "sqla+mysql+pymysql://celery:celery@server/celery", **MARIADB_SERVER, keeps=True
)
ZOOKEEPER = Kind(
    "Zookeeper",
    "zookeeper://server:2181/kombu",
    server="ZOO_LOG_DIR=/tmp exec zkServer.sh start-foreground /opt/zoo.cfg",
    image=SERVERS_IMAGE,
    port=2181,
    version=DEBIAN + "zookeeper",
    keeps=True,
    priorities=HIGH_FIRST,
)
ETCD = Kind(
    "etcd",
    "etcd://server:2379/",
    server="exec etcd --enable-v2 --data-dir /data/etcd --listen-client-urls http://0.0.0.0:2379 "
    "--advertise-client-urls http://server:2379",
    image=SERVERS_IMAGE,
    port=2379,
    version=DEBIAN + "etcd-server",
    keeps=True,
    priorities=MIXED,
)

IN_REDIS = Backend("Redis", "redis://", version=DEBIAN + "redis-server")
IN_REDIS_APART = Backend("Redis, apart from the broker's", "redis://results:6379/0")
IN_MEMCACHED = Backend(
    "memcached",
    "cache+memcached://server:11211/",
    server="exec memcached -l 0.0.0.0",
    image=MEMCACHED_IMAGE,
    port=11211,
    version=DEBIAN + "memcached",
)
IN_SQLITE = Backend("SQLAlchemy on SQLite", f"db+sqlite:///{FOLDER}/results.sqlite")
IN_FILES = Backend("filesystem", f"file://{FOLDER}")
IN_REPLIES = Backend("the sender's own queue", "rpc://")
NOWHERE = Backend("none", "")


IN_MARIADB = Backend("SQLAlchemy on MariaDB", "db+mysql+pymysql://celery:celery@server/celery", **MARIADB_SERVER)
IN_MONGODB = Backend(
    "MongoDB",
    "mongodb://server:27017/celery",
    server="exec nx-27017 --host 0.0.0.0 --db memory",
    image=SERVERS_IMAGE,
    port=27017,
    version=PYPI % ("nx-27017", "nx-27017"),
)
IN_OPENSEARCH = Backend(
    "OpenSearch",
    "elasticsearch://server:9200/celery",
    server="exec /opt/servers/lib/python3*/site-packages/osmem_server/bin/osmem-server -addr 0.0.0.0:9200 "
    "-no-stdin-watch",
    image=SERVERS_IMAGE,
    port=9200,
    version=PYPI % ("osmem-server", "osmem-server"),
)
IN_S3 = Backend(
    "Amazon S3",
    "s3://",
    {
        "s3_access_key_id": "any",
        "s3_secret_access_key": "any",
        "s3_bucket": "results",
        "s3_region": "us-east-1",
        "s3_endpoint_url": "http://server:5000",
    },
    MOTO,
    f'{AMAZON} & sleep 5; python -c "import boto3; '
    "boto3.client('s3', endpoint_url='http://127.0.0.1:5000').create_bucket(Bucket='results')\"; wait",
    port=5000,
    version=MOTO_VERSION,
)
IN_DYNAMODB = Backend(
    "Amazon DynamoDB",
    "dynamodb://any:any@us-east-1/results",
    {"dynamodb_endpoint_url": "http://server:5000"},
    MOTO,
    AMAZON,
    port=5000,
    version=MOTO_VERSION,
)
QUICK = (SQS, SQLITE, FILES, IN_REDIS, IN_REDIS_APART, IN_MEMCACHED, IN_SQLITE, IN_FILES, IN_REPLIES, NOWHERE)
"""Those of `make test`; the others wait for `make brokers`."""


def each(*kinds: Kind) -> pytest.MarkDecorator:
    """Return the mark of a test that is for each of these."""
    params = [pytest.param(kind, id=kind.name, marks=_marks(kind)) for kind in kinds]
    return pytest.mark.parametrize("kind", params)


def _marks(kind: Kind) -> list[pytest.MarkDecorator]:
    # A group is one process, and each process installs the app once.
    if kind in QUICK:
        return [pytest.mark.xdist_group(f"{type(kind).__name__}s")]
    return [pytest.mark.slow, pytest.mark.xdist_group(f"{type(kind).__name__}s with servers")]


def settings(kind: Kind) -> dict[str, str]:
    """Return the variables of a worker of the app that are of this kind."""
    name = "APP_SETTINGS" if isinstance(kind, Backend) else "BROKER_OPTIONS"
    return {name: json.dumps(kind.options), **LOGIN}


BROKERS = (REDIS, RABBITMQ, PGMQ, SQS, SQLITE, FILES, MARIADB, ZOOKEEPER, ETCD)
EVERY = each(*BROKERS)
