"""Containers of one test: a broker, workers and beats of the kit's images on a network of their own."""

from __future__ import annotations

import gc
import json
import os
import secrets
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker

from celerykit.brokers import rabbitmq_definitions
from celerykit.config.settings import Settings
from celerykit.credentials import passwords
from tests.rig.authority import Authority
from tests.rig.client import Client, PGMQClient, RabbitMQClient, results_of
from tests.rig.ledger import Ledger, folder_in_memory
from tests.rig.process import READY, Process
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CELERY_IMAGE = os.environ.get("CELERYKIT_IMAGE") or "celerykit/celery"
REDIS_IMAGE = "celerykit/redis"
RABBITMQ_IMAGE = "celerykit/rabbitmq"
POSTGRESQL_IMAGE = "celerykit/postgresql"
INSTALLER_IMAGE = "celerykit/installer"
APPS = Path(__file__).parents[1] / "containers" / "apps"
INSIDE = Path(__file__).parent / "inside"
LABEL = "celerykit.test"
POOLS = ("prefork", "threads", "solo", "gevent")
RABBITMQ_BY_TLS = {
    "CELERYKIT_TLS_CA": "/secrets/rabbitmq/ca.pem",
    "RABBITMQ_CONFIG_FILES": "/etc/rabbitmq/{conf,tls}.d/*.conf",
}


class Rig:
    """Everything that one test has started; :meth:`close` removes it."""

    def __init__(self, folder: Path):
        self.docker = docker.from_env()
        self.name = f"celerykit-test-{secrets.token_hex(4)}"
        self.ledger = Ledger(folder)
        self.password = secrets.token_hex(16)
        self.processes: list[Process] = []
        self.network = self.docker.networks.create(self.name, labels={LABEL: ""})
        self.app = str(APPS)
        self.authority: Authority | None = None
        self.broker_url = f"redis://celery:{self.password}@redis:6379/0"
        """The broker's URL as the containers see it."""
        self.image = CELERY_IMAGE
        self._folder = folder

    @classmethod
    @contextmanager
    def in_memory(cls) -> Iterator[Rig]:
        """Have a rig whose ledger and broker's data are in memory, and remove all of it afterwards."""
        with folder_in_memory() as folder:
            rig = cls(folder)
            try:
                yield rig
            except AssertionError:
                rig.show()
                raise
            finally:
                rig.close()

    def encrypt(self) -> Authority:
        """Let every server that is started from now on speak TLS alone."""
        self.authority = Authority(self._folder)
        self.broker_url = self.broker_url.replace("redis", "rediss", 1)
        return self.authority

    def small_disk(self, megabytes: int = 8) -> str:
        """Return a small volume, which lasts as long as a container runs that has it."""
        size = {"type": "tmpfs", "device": "tmpfs", "o": f"size={megabytes}m,mode=1777"}
        name: str = self.docker.volumes.create(f"{self.name}-small", driver_opts=size, labels={LABEL: ""}).name
        return name

    def redis(self, data: str = "", users: str = "", **options: Any) -> Process:
        """Start the broker with data that outlives it, reachable by the client on loopback.

        :param data: a volume to have them on, instead of a folder of the test's.
        :param users: more users than the kit's own, as Redis has them.
        """
        health = secrets.token_hex(8)
        folder = self._folder / "redis"
        folder.mkdir(exist_ok=True)
        (folder / "users.acl").write_text(passwords.users(self.password, self.password, health) + users)
        (folder / "health").write_text(health)
        port = _free_port()
        if self.authority:
            arguments = options.pop("command", [""])[1:]
            told = {"CELERYKIT_TLS_CA": "/secrets/redis/ca.pem"}
            options = {**options, "command": ["/etc/redis/tls.conf", *arguments], "environment": told}
        process = self.run(
            REDIS_IMAGE,
            name="redis",
            ports={"6379/tcp": ("127.0.0.1", port)},
            volumes={
                data or str(self._data()): {"bind": "/data", "mode": "rw"},
                str(folder): {"bind": "/secrets/redis", "mode": "ro"},
            },
            **options,
        )
        self.client = Client(self.broker_url.replace("redis:6379", f"127.0.0.1:{port}"), self.ledger)
        self._trust(self.client)
        until(self.client.ping, READY, lambda: f"Redis answers; log:\n{process.logs[-2000:]}")
        return process

    def _data(self) -> Path:
        folder = self._folder / "data"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        return folder

    def definitions(self, *queues: str) -> dict[str, Any]:
        """Return what RabbitMQ is told of these queues, the default one and everything else."""
        users = dict.fromkeys(rabbitmq_definitions.RIGHTS, self.password)
        own = Settings(longest_job=10.0, stop_timeout=30.0)
        return dict(json.loads(rabbitmq_definitions.definitions(users, ["celery", *queues], own)))

    def rabbitmq(self, *queues: str, only: Sequence[str] = (), **options: Any) -> Process:
        """Start RabbitMQ instead, as the stack does; ``only`` some kinds of definitions, if any is named."""
        folder = self._folder / "rabbitmq"
        folder.mkdir(exist_ok=True)
        if self.authority:
            options = {**options, "environment": RABBITMQ_BY_TLS}
        told = {kind: items for kind, items in self.definitions(*queues).items() if not only or kind in only}
        (folder / "definitions.json").write_text(json.dumps(told))
        scheme, inside = ("amqps", 5671) if self.authority else ("amqp", 5672)
        port = _free_port()
        process = self.run(
            RABBITMQ_IMAGE,
            name="rabbitmq",
            ports={f"{inside}/tcp": ("127.0.0.1", port)},
            volumes={
                f"{self.name}-rabbitmq": {"bind": "/data", "mode": "rw"},
                str(folder): {"bind": "/secrets/rabbitmq", "mode": "ro"},
            },
            **options,
        )
        self.broker_url = f"{scheme}://worker:{self.password}@rabbitmq:{inside}/{rabbitmq_definitions.VHOST}"
        self.client = RabbitMQClient(
            f"{scheme}://producer:{self.password}@127.0.0.1:{port}/celery", self.ledger, process
        )
        self._trust(self.client)
        until(self.client.ping, READY, lambda: f"RabbitMQ answers; log:\n{process.logs[-2000:]}")
        return process

    def postgresql(self, *, ready: bool = True) -> tuple[Process, str]:
        """Start PostgreSQL on a small disk in memory; return it, and where this machine reaches it."""
        folder = self._folder / "postgresql"
        folder.mkdir(exist_ok=True)
        (folder / "users.sql").write_text(passwords.postgresql_users(self.password))
        volumes = {self.small_disk(megabytes=256): {"bind": "/data", "mode": "rw"}}
        # While the server is down, somebody must have the disk.
        self.run(POSTGRESQL_IMAGE, entrypoint=["sleep", "infinity"], volumes=volumes)
        port = _free_port()
        by_tls = {"command": ["/etc/postgresql/tls.conf"]} if self.authority else {}
        process = self.run(
            POSTGRESQL_IMAGE,
            name="postgresql",
            **by_tls,
            ports={"5432/tcp": ("127.0.0.1", port)},
            volumes={**volumes, str(folder): {"bind": "/secrets/postgresql", "mode": "ro"}},
        )
        if ready:
            until(lambda: process.answers("postgresql-health"), READY, lambda: f"PostgreSQL:\n{process.logs[-2000:]}")
        self.image = os.environ.get("CELERYKIT_IMAGE") or f"{CELERY_IMAGE}:postgresql"
        return process, f"127.0.0.1:{port}"

    def pgmq(self) -> Process:
        """Start PostgreSQL as broker and result backend instead."""
        process, address = self.postgresql()
        self.broker_url = f"pgmq://celery:{self.password}@postgresql:5432/celery"
        by_tls = f"?sslmode=verify-full&sslrootcert={self.authority.file}" if self.authority else ""
        self.client = PGMQClient(self.broker_url.replace("postgresql:5432", address) + by_tls, self.ledger)
        return process

    def _trust(self, client: Client) -> None:
        if self.authority:
            self.authority.trust(client.app)

    def install(self, folder: Path) -> None:
        """Install an app with its requirements, as the stack does, for the workers that start from now on."""
        volume = self.docker.volumes.create(f"{self.name}-app", labels={LABEL: ""})
        volumes = {str(folder.resolve()): {"bind": "/src", "mode": "ro"}, volume.name: {"bind": "/app", "mode": "rw"}}
        environment = {"HOME": "/tmp"}
        if bundle := os.environ.get("CELERYKIT_CA_BUNDLE"):
            volumes[bundle] = {"bind": "/ca.pem", "mode": "ro"}
            environment["CELERYKIT_CA_BUNDLE"] = "/ca.pem"
        installer = self.run(INSTALLER_IMAGE, environment=environment, volumes=volumes)
        assert installer.wait_exit(120) == 0, installer.logs
        self.app = volume.name

    @property
    def result_backend(self) -> str:
        """The result backend's URL as the containers see it; beside other brokers than Redis there is none."""
        if self.broker_url.startswith("pgmq://"):
            return self.broker_url.replace("pgmq://", "db+postgresql+psycopg://")
        on_redis = self.broker_url.startswith(("redis://", "rediss://", "sentinel://"))
        return results_of(self.broker_url) if on_redis else "UNSET"

    def worker(self, pool_class: str = "prefork", app: str = "plain", *, ready: bool = True, **options: Any) -> Process:
        """Start a worker with two slots, and wait until it consumes.

        Upper-case options are environment variables, others go to Docker.
        """
        environment = {
            "CELERY_WORKER_POOL": pool_class,
            "CELERY_WORKER_CONCURRENCY": "1" if pool_class == "solo" else "2",
        }
        process = self.celery(["worker"], app, environment, **options)
        if ready:
            process.wait_ready()
        return process

    def beat(self, app: str = "beating", **options: Any) -> Process:
        """Start beat with its schedule on a volume."""
        environment = {"CELERY_BEAT_SCHEDULE": "/var/lib/celery/schedule"}
        volumes = {f"{self.name}-schedule": {"bind": "/var/lib/celery", "mode": "rw"}}
        return self.celery(["beat"], app, environment, volumes=volumes, **options)

    def celery(
        self,
        command: Sequence[str],
        app: str,
        environment: Mapping[str, str] | None = None,
        *,
        volumes: Mapping[str, Mapping[str, str]] | None = None,
        **options: Any,
    ) -> Process:
        """Start a process of the Celery image with the survival apps mounted and the broker named."""
        told = {
            "CELERY_APP": app,
            "CELERY_BROKER_URL": self.broker_url,
            "CELERY_RESULT_BACKEND": self.result_backend,
            "CELERYKIT_STOP_TIMEOUT": "30",
            "CELERYKIT_LONGEST_JOB": "10",
            **({"CELERYKIT_TLS_CA": "/ledger/celery/ca.pem"} if self.authority else {}),
            "PYTHONPATH": "/rig",
            "PYTHONDONTWRITEBYTECODE": "1",
            **(environment or {}),
            **{name: str(value) for name, value in options.items() if name.isupper()},
        }
        return self.run(
            self.image,
            command=list(command),
            environment={name: value for name, value in told.items() if value != "UNSET"},
            volumes={
                self.app: {"bind": "/app", "mode": "ro"},
                str(INSIDE): {"bind": "/rig", "mode": "ro"},
                str(self.ledger.folder): {"bind": "/ledger", "mode": "rw"},
                **(volumes or {}),
            },
            **{name: value for name, value in options.items() if not name.isupper()},
        )

    def run(self, image: str, *, name: str = "", restart: bool = False, **options: Any) -> Process:
        """Start a container, hardened as the stack's are."""
        networking = {name: self.docker.api.create_endpoint_config(aliases=[name])} if name else None
        container = self.docker.containers.create(
            image,
            network=self.name,
            networking_config={self.name: next(iter(networking.values()))} if networking else None,
            labels={LABEL: ""},
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            tmpfs={"/tmp": "", "/run/celery": "mode=1777"},
            restart_policy={"Name": "unless-stopped"} if restart else None,
            **options,
        )
        process = Process(container)
        self.processes.append(process)
        container.start()
        return process

    def assert_nothing_lost(self, seconds: float = 120, *, twice: int = 0) -> None:
        """Fail unless every accepted job is done, at most ``twice`` of them started again, and the broker has none."""
        until(lambda: not self.ledger.account().lost, seconds, lambda: str(self.ledger.account()))
        account = self.ledger.account()
        assert account.accepted, "no job was accepted, so this proves nothing"
        assert len(account.started_twice) <= twice, str(account)
        until(lambda: self.client.queued() + self.client.unacknowledged() == 0, 90, "an empty broker")

    def cut(self, process: Process) -> None:
        """Let nothing in and nothing out of a container, not even a word that its connections end."""
        self._link(process, "down")

    def mend(self, process: Process) -> None:
        """Undo :meth:`cut`: what both sides have kept of their connections goes on."""
        self._link(process, "up")

    def _link(self, process: Process, state: str) -> None:
        self.docker.containers.run(
            CELERY_IMAGE,
            ["/rig/celerykit_link.py", state],
            entrypoint="python",
            user="root",
            network_mode=f"container:{process.container.id}",
            cap_drop=["ALL"],
            cap_add=["NET_ADMIN"],
            volumes={str(INSIDE): {"bind": "/rig", "mode": "ro"}},
            remove=True,
        )

    def show(self) -> None:
        """Print the end of each log, for a failed test."""
        print(self.story(), file=sys.stderr)

    def story(self) -> str:
        """Return the end of each log, and what the ledger says."""
        logs = [
            f"--- {process.container.name} {process.container.attrs['Config']['Image']}\n{process.logs[-4000:]}"
            for process in self.processes
        ]
        return "\n".join([*logs, str(self.ledger.account())])

    def close(self) -> None:
        """Remove what was started."""
        # A handle of a result asks its server to forget it; one collected later looks for it for 20 s, in another test.
        gc.collect()
        for process in self.processes:
            process.container.remove(force=True, v=True)
        self._remove_data()
        self.network.remove()
        for volume in self._volumes():
            volume.remove(force=True)

    def _remove_data(self) -> None:
        """Let the broker's own user remove its files; the caller's may not, unless it is root."""
        data = self._folder / "data"
        if data.exists() and os.getuid() != 0:
            volumes = {str(data): {"bind": "/data", "mode": "rw"}}
            command = ["-c", "rm -rf /data/*"]
            self.docker.containers.run(REDIS_IMAGE, command, entrypoint="sh", volumes=volumes, remove=True)

    def _volumes(self) -> Iterator[Any]:
        yield from (volume for volume in self.docker.volumes.list() if volume.name.startswith(self.name))


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
