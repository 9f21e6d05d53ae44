"""The brokers, and what differs between them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ResponseError

from tests.brokers.scene import Broker
from tests.containers.conftest import folder, pytest_runtest_makereport, rig
from tests.rig.containers import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.brokers.kinds import Kind
    from tests.rig.process import Process

    Seen = Callable[[str, str | float], None]

OTHERS = Path(__file__).with_name("others")
__all__ = ("folder", "pytest_runtest_makereport", "rig")


class Redis:
    """Redis, with little memory."""

    redelivery = 15.0
    """Seconds within which a killed worker's jobs run again: at once, when the worker is there again."""

    def __init__(self, rig: Rig, **options: Any):
        self.server = rig.redis(command=["/etc/redis/redis.conf", "--maxmemory", "24mb"], **options)
        self._client = rig.client
        self._blocks: list[str] = []

    def fill(self) -> None:
        """Leave no memory for jobs."""
        block = "x" * 10_000
        while block:
            try:
                self._redis.set(f"block-{len(self._blocks)}", block)
                self._blocks.append(f"block-{len(self._blocks)}")
            except ResponseError:  # what is left takes a smaller one
                block = block[: len(block) // 2]

    def relieve(self) -> None:
        """Give the memory back."""
        self._redis.delete(*self._blocks)

    def read_certificates(self) -> None:
        """Have it read them again."""
        self.server.container.restart()

    @property
    def _redis(self) -> Any:
        return self._client.app.connection_for_read().default_channel.client


class RabbitMQ:
    """RabbitMQ as the stack has it."""

    redelivery = 15.0
    """Seconds: at once, when the worker is there again."""

    def __init__(self, rig: Rig):
        self.server = rig.rabbitmq("reports")

    def fill(self) -> None:
        """Raise the memory alarm."""
        self.server.sh("rabbitmqctl -q set_vm_memory_high_watermark 0.0001")

    def relieve(self) -> None:
        """Clear it."""
        self.server.sh("rabbitmqctl -q set_vm_memory_high_watermark 0.6")

    def read_certificates(self) -> None:
        """Have it read them again, without a restart."""
        self.server.sh("rabbitmqctl -q eval 'ssl:clear_pem_cache().'")


class SmallDisk:
    """What is done to a server whose disk has room for some thousand jobs."""

    server: Process

    def fill(self) -> None:
        """Leave no room on it."""
        self.server.sh("cat /dev/zero >>/data/block 2>/dev/null || true")  # it ends where the disk does

    def relieve(self) -> None:
        """Make room again."""
        self.server.sh("rm /data/block")


class RedisOnSmallDisk(SmallDisk, Redis):
    """Redis with little disk."""

    def __init__(self, rig: Rig):
        super().__init__(rig, data=rig.small_disk())


class RabbitMQOnSmallDisk(RabbitMQ):
    """RabbitMQ that wants more of its disk to be free than is, at times."""

    def fill(self) -> None:
        """Raise the disk alarm."""
        self.server.sh("rabbitmqctl -q set_disk_free_limit 1000000GB")

    def relieve(self) -> None:
        """Clear it."""
        self.server.sh("rabbitmqctl -q set_disk_free_limit 1MB")


class PGMQ(SmallDisk):
    """PostgreSQL, with little disk."""

    redelivery = 30.0
    """Seconds: the visibility timeout, which follows from the rig's longest job, and the time to start."""

    def __init__(self, rig: Rig):
        self.server = rig.pgmq()

    def read_certificates(self) -> None:
        """Have it read them again."""
        self.server.container.restart()


@pytest.fixture(params=[Redis, RabbitMQ, RedisOnSmallDisk, RabbitMQOnSmallDisk, PGMQ], ids=lambda made: made.__name__)
def scarce(request: pytest.FixtureRequest, rig: Rig) -> Redis | RabbitMQ | PGMQ:
    """A rig's broker that can run out of memory or disk."""
    made: Redis | RabbitMQ | PGMQ = request.param(rig)
    return made


@pytest.fixture(params=[Redis, RabbitMQ, PGMQ], ids=["redis", "rabbitmq", "pgmq"])
def broker(request: pytest.FixtureRequest, rig: Rig) -> Redis | RabbitMQ | PGMQ:
    """A rig's broker, each kind in turn."""
    made: Redis | RabbitMQ | PGMQ = request.param(rig)
    return made


@pytest.fixture(scope="module")
def installed(request: pytest.FixtureRequest) -> Iterator[str]:
    """The volume on which the app ``others`` is, with what the kit says that this module's brokers need."""
    mine = [item.callspec.params for item in request.session.items if item.module is request.module]
    wanted = {package for params in mine if "kind" in params for package in params["kind"].packages}
    with Rig.in_memory() as rig:
        app = Path(shutil.copytree(OTHERS, rig.ledger.folder / "others"))
        (app / "requirements.txt").write_text("\n".join(sorted(wanted)))
        rig.install(app)
        yield rig.app


@pytest.fixture
def on(rig: Rig, installed: str) -> Callable[[Kind], Broker]:
    """Give a rig with the app a broker."""
    rig.app = installed
    return lambda kind: Broker(rig, kind)


@pytest.fixture
def seen(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Seen:
    """Note what a test has seen of its kind of broker or result backend, for :mod:`tests.brokers.recording`."""
    kind = request.node.callspec.params["kind"]
    record_property("kind", [kind.part, kind.name])
    return lambda name, value: record_property(
        "seen", [kind.part, kind.name, kind.url.partition("://")[0], name, value]
    )
