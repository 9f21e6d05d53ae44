"""Every broker and result backend that Celery has or had, with its promise for a dead worker's jobs and its package."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from celerykit import releases
from celerykit.config import envfile, option_names, settings
from celerykit.config.settings import AT_LEAST_ONCE, AT_MOST_ONCE, STOCK
from celerykit.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celerykit.config.settings import Settings


class Promise(Enum):
    """The promise of a broker for a job when its worker ends while the job runs."""

    REDELIVERS = "A job runs again after its worker's death"
    GRACEFUL = "A job runs again after a graceful stop alone, and is lost after a kill"
    UNTESTED = "Nobody has tried here"
    GONE = "Not in Celery any more"


@dataclass(frozen=True)
class Server:
    """A kind of broker or result backend, by the schemes of its URLs.

    ``package`` is the requirement that installs ``modules``: the extras of Celery that should do so do not always.
    """

    name: str
    schemes: tuple[str, ...]
    promise: Promise
    package: str = ""
    modules: tuple[str, ...] = ()
    instead: str = ""


BACKEND = "CELERY_RESULT_BACKEND"
REDIS = ("redis", "rediss", "sentinel")
AMQP = ("amqp", "amqps", "pyamqp")
TIMED = ("sqs",)
"""Schemes of brokers that redeliver a job when its visibility timeout expires, even while a worker runs it."""
USE = "RabbitMQ (amqp://) or Redis (redis://)"
PGMQ = "PGMQ (pgmq://), which keeps them in PostgreSQL"
REDELIVERS, GRACEFUL, UNTESTED, GONE = Promise
BROKERS = (
    Server("Redis, Valkey", REDIS, REDELIVERS, "celery[redis]", ("redis",)),
    Server("RabbitMQ", AMQP, REDELIVERS),
    Server("PGMQ on PostgreSQL", ("pgmq",), REDELIVERS, "kombu[pgmq] psycopg[binary]", ("pgmq", "psycopg")),
    Server("Amazon SQS", ("sqs",), REDELIVERS, "celery[sqs]", ("boto3",)),
    Server("SQLAlchemy", ("sqla", "sqlalchemy"), GRACEFUL, "celery[sqlalchemy]", ("sqlalchemy",), f"{PGMQ}, {USE}"),
    Server("Zookeeper", ("zookeeper",), GRACEFUL, "celery[zookeeper]", ("kazoo",), USE),
    Server("etcd", ("etcd",), GRACEFUL, "python-etcd", ("etcd",), USE),
    Server("filesystem", ("filesystem",), GRACEFUL, instead=USE),
    Server("Pyro", ("pyro",), GRACEFUL, "Pyro4", ("Pyro4",), USE),
    Server("a broker in memory", ("memory",), GRACEFUL, instead=USE),
    Server("Kafka", ("confluentkafka", "kafka"), UNTESTED, "kombu[confluentkafka]", ("confluent_kafka",)),
    Server("MongoDB", ("mongodb",), UNTESTED, "celery[mongodb]", ("pymongo",)),
    Server("Consul", ("consul",), UNTESTED, "celery[consul]", ("consul",)),
    Server("Google Cloud Pub/Sub", ("gcpubsub",), UNTESTED, "celery[gcpubsub]", ("google.cloud.pubsub_v1",)),
    Server("Azure Service Bus", ("azureservicebus",), UNTESTED, "kombu[azureservicebus]", ("azure.servicebus",)),
    Server(
        "Azure Storage Queues", ("azurestoragequeues",), UNTESTED, "kombu[azurestoragequeues]", ("azure.storage.queue",)
    ),
    Server("librabbitmq", ("librabbitmq",), GONE, instead="amqp://, whose client is fast enough by now"),
    Server("Qpid", ("qpid",), GONE, instead="RabbitMQ (amqp://)"),
    Server("SoftLayer MQ", ("slmq",), GONE, instead=USE),
    Server("Beanstalk", ("beanstalk",), GONE, instead=USE),
    Server("CouchDB", ("couchdb",), GONE, instead=USE),
    Server("Django's database", ("django", "djkombu"), GONE, instead=f"{PGMQ}, {USE}"),
    Server("IronMQ", ("ironmq", "ironmq_transport"), GONE, instead=f"Amazon SQS (sqs://), {USE}"),
    Server("ghettoq", ("ghettoq",), GONE, instead=USE),
)
BACKENDS = (
    Server("Redis, Valkey", REDIS, REDELIVERS, "celery[redis]", ("redis",)),
    Server("SQLAlchemy", ("db", "database"), REDELIVERS, "celery[sqlalchemy]", ("sqlalchemy",)),
    Server("Django", ("django-db", "django-cache"), REDELIVERS, "django-celery-results", ("django_celery_results",)),
    Server("memcached", ("cache",), REDELIVERS, "celery[pymemcache]", ("pymemcache",)),
    Server("MongoDB", ("mongodb",), REDELIVERS, "celery[mongodb]", ("pymongo",)),
    # From release 9 on, the client that the extra installs rejects an argument that Celery passes.
    Server("Elasticsearch, OpenSearch", ("elasticsearch",), REDELIVERS, "elasticsearch<7.14", ("elasticsearch",)),
    Server("Amazon S3", ("s3",), REDELIVERS, "celery[s3]", ("boto3",)),
    Server("Amazon DynamoDB", ("dynamodb",), REDELIVERS, "celery[dynamodb]", ("boto3",)),
    Server("filesystem", ("file",), REDELIVERS),
    Server("the sender's own queue", ("rpc",), REDELIVERS),
    Server("Cassandra", ("cassandra",), UNTESTED, "celery[cassandra]", ("cassandra",)),
    Server("Couchbase", ("couchbase",), UNTESTED, "celery[couchbase]", ("couchbase",)),
    Server("CouchDB", ("couchdb",), UNTESTED, "celery[couchdb]", ("pycouchdb",)),
    Server("ArangoDB", ("arangodb",), UNTESTED, "celery[arangodb]", ("pyArango",)),
    Server("Consul", ("consul",), UNTESTED, "celery[consul]", ("consul",)),
    Server("Cosmos DB", ("cosmosdbsql",), UNTESTED, "celery[cosmosdbsql]", ("pydocumentdb",)),
    Server("Azure Blob Storage", ("azureblockblob",), UNTESTED, "celery[azureblockblob]", ("azure.storage.blob",)),
    Server("Google Cloud Storage", ("gs",), UNTESTED, "celery[gcs]", ("google.cloud.storage",)),
    Server("AMQP", ("amqp",), GONE, instead="rpc://, or a Redis (redis://)"),
    Server("Riak", ("riak",), GONE, instead="Redis (redis://)"),
    Server("IronCache", ("ironcache",), GONE, instead="Redis (redis://)"),
    Server("django-celery", ("djcelery",), GONE, instead="django-db of the package django-celery-results"),
)


def refusals(app: Any, delivery: str, sources: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the reasons why no process of ``app`` may start with its broker or result backend.

    :param delivery: the promise for jobs, as in ``Settings.delivery``.
    :param sources: where each variable comes from, for messages.
    """
    if any(scheme_of(url) in REDIS for url in broker_urls(app.conf)):
        yield from releases.redis_refusals()
    for url in broker_urls(app.conf):
        yield from _refusals(BROKERS, "CELERY_BROKER_URL", url, _known_brokers(), delivery, sources)
    url = app.conf.result_backend
    if isinstance(url, str) and url:
        yield from _refusals(BACKENDS, backend_variable(url), url, _known_backends(app), AT_MOST_ONCE, sources)


def advice(app: Any, where: str) -> Iterator[Finding]:
    """Yield a finding for each broker of ``app`` that was never tested."""
    for url in broker_urls(app.conf):
        server = find(BROKERS, url)
        if server is not None and server.promise is UNTESTED:
            problem = f"whether a job outlives its worker on {server.name} was never tried"
            yield Finding("broker_url", envfile.mask("CELERY_BROKER_URL", url), where, problem, f"Use {USE}")


def broker_urls(conf: Any, name: str = "broker_read_url") -> list[str]:
    """Return the brokers' URLs in a setting of ``conf``: without ``name``, of those that workers read from."""
    return urls(getattr(conf, name) or "amqp://")


def urls(value: Any) -> list[str]:
    """Return the URLs of a setting that may name several."""
    return value.split(";") if isinstance(value, str) else list(value)


def backend_variable(url: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the variable that sets the result backend: the kit's if the URL comes from it, else Celery's."""
    kits = settings.variable("result_backend")
    return kits if environ.get(kits) == url and not environ.get(BACKEND) else BACKEND


def is_rabbitmq(app: Any) -> bool:
    """Say whether workers of ``app`` read from RabbitMQ."""
    return scheme_of(broker_urls(app.conf)[0]) in AMQP


def goes_by_time(app: Any, config: Settings) -> bool:
    """Say whether the broker redelivers a job after the visibility timeout while its worker is alive."""
    scheme = scheme_of(broker_urls(app.conf)[0])
    return scheme in TIMED or (scheme in REDIS and config.redis_transport == STOCK)


def scheme_of(url: str) -> str:
    """Return the scheme of a URL without its driver: ``sqla`` of ``sqla+postgresql://host/name``."""
    return url.partition("://")[0].partition("+")[0].lower()


def find(servers: Sequence[Server], url: str) -> Server | None:
    """Return the server among ``servers`` that has the scheme of a URL, None if there is none."""
    scheme = scheme_of(url).partition(".")[0]
    return next((server for server in servers if scheme in server.schemes), None)


def _refusals(
    servers: Sequence[Server],
    variable: str,
    url: str,
    schemes: Sequence[str],
    delivery: str,
    sources: Mapping[str, str],
) -> Iterator[Finding]:
    server = find(servers, url)
    problem, remedy = "", ""
    if server is None:
        if "://" not in url or scheme_of(url) in schemes:
            return  # a name of the app's own, or a transport added to Celery
        near = option_names.closest(scheme_of(url), schemes)
        problem, remedy = f"Celery knows no scheme {scheme_of(url)}://", f"Did you mean {near}://?" if near else USE
    elif server.promise is GONE:
        problem, remedy = f"Celery 5.7 has no {server.name} any more", f"Use {server.instead}"
    elif server.promise is GRACEFUL and delivery == AT_LEAST_ONCE:
        problem = f"{server.name} forgets a job when a worker fetches it, so it is lost when the worker dies"
        remedy = f"Use {server.instead}; or say that jobs may be lost: CELERYKIT_DELIVERY={AT_MOST_ONCE}"
    elif scheme_of(url) == "pgmq" and releases.lacks("pgmq"):
        problem, remedy = f"{releases.describe('kombu')} has no {server.name} yet", f"Require kombu>=5.7, or use {USE}"
    elif missing := _missing(server):
        problem = f"{server.name} needs the module {missing}, which cannot be imported here"
        remedy = f"Add {server.package} to the app's requirements"
    if problem:
        yield Finding(
            variable, envfile.mask(variable, url), sources.get(variable, "the app's own settings"), problem, remedy
        )


def _missing(server: Server) -> str:
    for module in server.modules:
        try:
            importlib.import_module(module)
        except ImportError:
            return module
    return ""


def _known_brokers() -> list[str]:
    from kombu.transport import TRANSPORT_ALIASES

    return sorted(name.lower() for name in TRANSPORT_ALIASES)


def _known_backends(app: Any) -> list[str]:
    from celery.app.backends import BACKEND_ALIASES

    return sorted({*BACKEND_ALIASES, *app.loader.override_backends})


EXCHANGE = "celerykit"
"""The topic exchange on RabbitMQ to which every queue is bound by its own name."""
QUORUM = "quorum"
DEAD_LETTERS = "celerykit.dead-letters"
