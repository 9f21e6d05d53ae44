"""A test host: a container that boots like a machine, to which the playbook deploys as to one."""

from __future__ import annotations

import os
import secrets
import shutil
import ssl
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import testinfra

from celerykit.brokers import rabbitmq_definitions
from tests.rig.client import Client, PGMQClient, RabbitMQClient
from tests.rig.containers import APPS, INSIDE, LABEL, _free_port
from tests.rig.ledger import Ledger, folder_in_memory
from tests.rig.managers import POOLS, POSTGRESQL, RABBITMQ, REDIS, VALKEY, Manager, Supervisor, Systemd, Sysvinit
from tests.rig.playing import GROUPS, Play, play
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IMAGE = "celerykit/testhost"
FLAGS: Mapping[str, Mapping[str, Any]] = {
    # What systemd as PID 1 needs, and Debian's own sandboxed units; `privileged` is not wanted.
    "systemd": {
        "cap_add": ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"],
        "security_opt": ["seccomp=unconfined"],
        "cgroupns": "private",
    },
    # What init ends its container with, and what Debian's scripts recognise processes of other users by.
    "sysvinit": {"cap_add": ["SYS_BOOT", "SYS_PTRACE"]},
    "supervisor": {"cap_add": ["SYS_PTRACE"]},
}
TMPFS = {"/run": "", "/run/lock": "", "/tmp": ""}
MANAGERS: Mapping[str, type[Manager]] = {"sysvinit": Sysvinit, "bare": Supervisor}
"""By what follows the release in the name of a machine."""
LIKE = "trixie"
"""What every machine with another broker than Redis is like, but for that."""
BROKERS = {f"{LIKE}-valkey": VALKEY, f"{LIKE}-rabbitmq": RABBITMQ, f"{LIKE}-postgresql": POSTGRESQL}
PORTS = {REDIS: 6379, VALKEY: 6379, RABBITMQ: 5671, POSTGRESQL: 5432}
SECOND_PORT = 6380
"""Where the Redis of a second app listens."""
PROGRAMS = {REDIS: "redis-server", VALKEY: "valkey-server", RABBITMQ: "beam.smp"}
PSQL = "runuser -u postgres -- psql --cluster=17/celery -qAtX celery"
"""What an operator asks PostgreSQL by."""
EMPTIES = {
    **{
        name: f"service {name} stop && rm -rf /var/lib/{name.removesuffix('-server')}/* && service {name} start"
        for name in (REDIS, VALKEY)
    },
    RABBITMQ: f"rabbitmqctl -q purge_queue --vhost {rabbitmq_definitions.VHOST} celery",
    POSTGRESQL: f"cd /; {PSQL} -c 'TRUNCATE pgmq.q_celery'",
}
"""The command that empties a broker, which lets nobody in who could."""
KEPT = ("/etc", "/opt", "/srv", "/usr", "/var/lib")
"""Where a machine keeps what it has been given."""
WRITES_LEDGER = "/etc/systemd/system/celeryd@.service.d/ledger.conf"
VARIABLES: Mapping[str, Any] = {
    "celery_app": "plain",
    "celery_broker_url": "redis://celery:{{ redis_password }}@127.0.0.1:6379/0",
    "celery_result_backend": "redis://results:{{ redis_results_password }}@127.0.0.1:6379/1",
    "celery_stop_timeout": 60,
    "celery_environment": {"CELERYKIT_LONGEST_JOB": 10},
    # A pool that has learnt from the short jobs of one test would take all the long ones of the next.
    "celery_workers": [{"name": pool, "options": {"concurrency": 2, "prefetch_multiplier": 1}} for pool in POOLS],
    "celery_flower_options": {"basic_auth": "admin:{{ redis_password }}"},
    # The client of the tests comes by a published port.
    "redis_bind": ["*", "-::*"],
}
"""What a host is deployed with, unless a test says otherwise."""
OTHERWISE: Mapping[str, Mapping[str, Any]] = {
    REDIS: {},
    VALKEY: {
        "redis_server": "valkey",
        "celery_broker_url": "rediss://celery:{{ redis_password }}@127.0.0.1:6379/0",
        "celery_result_backend": "rediss://results:{{ redis_results_password }}@127.0.0.1:6379/1",
    },
    RABBITMQ: {
        "celery_broker": "rabbitmq",
        "celery_broker_url": "amqps://worker:{{ rabbitmq_passwords.worker }}@127.0.0.1:5671/celery",
        "rabbitmq_port": 5671,
        "celery_result_backend": "",
        "rabbitmq_bind": ["0.0.0.0"],
    },
    POSTGRESQL: {
        "celery_broker": "postgresql",
        "celery_broker_url": "pgmq://celery:{{ postgresql_password }}@127.0.0.1/celery",
        "celery_result_backend": "db+postgresql+psycopg://celery:{{ postgresql_password }}@127.0.0.1/celery",
        "postgresql_bind": ["0.0.0.0"],
    },
}
"""What is otherwise with a broker."""
BY_TLS = {VALKEY: "redis_tls", RABBITMQ: "rabbitmq_tls", POSTGRESQL: "postgresql_tls"}
"""The brokers that speak TLS alone, as where links leave a machine, and the variable that makes them do so."""


class Host:
    """One machine; :meth:`remove` ends it."""

    def __init__(self, kind: str, folder: Path, name: str = "host"):
        self.kind = kind
        self.broker = BROKERS.get(kind, REDIS)
        self.manager = MANAGERS.get(kind.partition("-")[2], Systemd)(self)
        self.folder = folder
        (folder / "ledger").mkdir()
        self.ledger = Ledger(folder / "ledger")
        self.app = folder / "app"
        self.password = secrets.token_hex(16)
        self.pools_deployed: set[str] = set()
        self.port, self.second_port, self._ssh_port = _free_port(), _free_port(), _free_port()
        self._texts: dict[str, str] = {}
        engine = docker.from_env()
        self.container = engine.containers.run(
            f"{IMAGE}-{LIKE if kind in BROKERS else kind}",
            detach=True,
            labels={LABEL: ""},
            hostname=name,
            tmpfs=TMPFS,
            ports={
                f"{inside}/tcp": ("127.0.0.1", outside)
                for inside, outside in (
                    (PORTS[self.broker], self.port),
                    (SECOND_PORT, self.second_port),
                    (22, self._ssh_port),
                )
            },
            volumes={str(self.ledger.folder): {"bind": "/ledger", "mode": "rw"}},
            **FLAGS[self.manager.name],
        )
        self.testinfra = testinfra.get_host(f"docker://{self.container.id}")
        self.manager.wait_booted()
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.sh(self.let_in)

    @classmethod
    @contextmanager
    def deployed(cls, kind: str) -> Iterator[Host]:
        """Have a machine that was empty and that the playbook has deployed to, and remove it afterwards."""
        with folder_in_memory() as folder:
            host = cls(kind, folder)
            try:
                host.prepare()
                yield host
            finally:
                host.remove()

    @property
    def let_in(self) -> str:
        """The command that lets an operator in by the key."""
        public = self.key.with_name("key.pub").read_text(encoding="utf-8")
        return f"install -d -o admin -m 0700 ~admin/.ssh && echo '{public}' >~admin/.ssh/authorized_keys"

    @property
    def address(self) -> str:
        """Where its neighbours reach it."""
        self.container.reload()
        return str(self.container.attrs["NetworkSettings"]["IPAddress"])

    def prepare(self) -> None:
        """Deploy broker, app and pools as the playbook does on an empty machine: asked, in earnest, once more."""
        self.client = self._client()
        self.prepare_app()
        self.sh("touch /tmp/begin")
        self.asked = self.deploy("--check", "--diff")
        self.written_when_asked = self.sh(f"find {' '.join(KEPT)} -xdev -newer /tmp/begin").split()
        self.first = self.deploy()
        assert self.first.code == 0, self.first.text
        self.second = self.deploy()
        self.said = self.run(f"journalctl --no-pager --output cat --unit 'celery*' --unit {self.broker}")[1]
        self._texts = {pool: self.sh(f"cat {self.env_file(pool)}") for pool in POOLS}
        until(self.client.ping, 90, "the broker answers")

    def prepare_app(self) -> None:
        """Have an app to deploy, whose jobs may write the ledger."""
        self.app.mkdir()
        for path in (*APPS.glob("*.py"), *INSIDE.glob("*.py")):
            shutil.copy(path, self.app)
        self.open_ledger()

    def open_ledger(self) -> None:
        """Let jobs write the ledger, which is outside of what the units let them write."""
        if self.manager.name == "systemd":
            self.write(WRITES_LEDGER, "[Service]\nReadWritePaths=/ledger\n")

    def deploy_from(self, collections: Path) -> Play:
        """Run the playbook of the collection in a folder with the usual variables."""
        inventory = self.inventory({"host": {}})
        return play(inventory, self.folder, playbook="celerykit.kit.site", collections=collections)

    def deploy(self, *arguments: str, **variables: Any) -> Play:
        """Run the playbook with the usual variables and these; None takes one away."""
        done = play(self.inventory({"host": variables}), self.folder, *arguments)
        if done.code == 0 and "--check" not in arguments:
            self.pools_deployed = {
                pool["name"] for pool in variables.get("celery_workers", VARIABLES["celery_workers"])
            }
        return done

    def inventory(self, hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return an inventory in which this machine has some names, each with its own variables beside the usual."""
        usual = {**VARIABLES, "celery_app_source": {"folder": str(self.app)}, "redis_password": self.password}
        usual["redis_results_password"] = self.password
        usual |= OTHERWISE[self.broker]
        if self.broker == RABBITMQ:
            usual["rabbitmq_passwords"] = dict.fromkeys(rabbitmq_definitions.RIGHTS, self.password)
        if self.broker == POSTGRESQL:
            usual["postgresql_password"] = self.password
        if self.broker in BY_TLS:
            usual |= {BY_TLS[self.broker]: str(self.folder / "tls"), "celery_tls_ca": str(self.authority)}
        usual["celery_ca_bundle"] = os.environ.get("CELERYKIT_CA_BUNDLE", "")
        told = {
            name: {key: value for key, value in {**usual, **variables}.items() if value is not None}
            for name, variables in hosts.items()
        }
        login = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self._ssh_port,
            "ansible_user": "admin",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR",
        }
        members = {"hosts": dict.fromkeys(told)}
        return {"all": {"hosts": {name: {**login, **own} for name, own in told.items()}}} | {
            group: {} if group == "backends" else members for group in GROUPS
        }

    def pool(self, name: str, *, enable: bool = True, **options: object) -> None:
        """Write the env file of a pool, and enable it."""
        self.write(self.env_file(name), self.pool_text(name, **options), owner="root:celery")
        if enable:
            self.manager.add(name)

    def env_file(self, pool: str) -> str:
        """Return where the options of a pool are."""
        return f"/etc/celery/worker-{pool}.env"

    def pool_text(self, name: str, **options: object) -> str:
        """Return the options of a pool: as deployed, or two processes and what a test asks for."""
        if not options and name in self._texts:
            return self._texts[name]
        return "".join(f"{key}={value}\n" for key, value in {"CELERY_WORKER_CONCURRENCY": 2, **options}.items())

    def drop_in(self, pool: str, text: str) -> None:
        """Change a pool's unit until the end of the test."""
        self.write(f"/etc/systemd/system/celeryd@{pool}.service.d/test.conf", f"[Service]\n{text}\n")
        self.sh("systemctl daemon-reload")

    def run(self, command: str) -> tuple[int, str]:
        """Run a shell command and return its exit code and all output."""
        code, output = self.container.exec_run(["sh", "-c", command])
        return int(code), output.decode(errors="replace")

    def sh(self, command: str) -> str:
        """Run a shell command and return its output.

        :raises AssertionError: if it fails.
        """
        code, output = self.run(command)
        assert code == 0, f"{command!r} ended with {code}: {output}\n{self.journal()}"
        return output

    def write(self, path: str, text: str, *, owner: str = "root:root") -> None:
        """Write a file that its owner may read and write and its group may read."""
        self.sh(
            f"mkdir -p $(dirname {path}) && printf %s '{text}' >{path} && chown {owner} {path} "
            f"&& chmod {'0644' if owner == 'root:root' else '0640'} {path}"
        )

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.sh(f"systemctl show --value --property={name} {unit}").strip()

    def do(self, verb: str, pool: str = "") -> str:
        """Start, stop or restart all pools or one, as an operator does."""
        return self.sh(self.manager.verb(verb, pool))

    def pid(self, process: str) -> int:
        """Return the main process of a pool, of beat or of Flower, 0 if there is none."""
        return self.manager.pid(process)

    def broker_pid(self) -> int:
        """Return the main process of the broker, 0 if there is none."""
        if self.manager.name == "systemd" and self.broker != RABBITMQ:  # children of a server have its name
            return int(self.show(self.broker, "MainPID"))
        return int(self.run(f"pgrep -xo {PROGRAMS[self.broker]}")[1] or 0)

    def probe(self, pool: str) -> str:
        """Return the command that asks whether a pool consumes."""
        return f"env CELERYKIT_STATE_DIR=/run/celery /opt/celery/venv/bin/celerykit probe worker {pool} --ready"

    def ready(self, pool: str) -> bool:
        """Say whether a pool consumes."""
        return self.run(self.probe(pool))[0] == 0

    def journal(self, unit: str = "celeryd*") -> str:
        """Return the last lines of the units' journal, or what there is instead of it."""
        if self.manager.name != "systemd":
            return self.manager.log()
        return self.run(f"journalctl --no-pager -n 60 -u '{unit}'")[1]

    def wait_running(self, jobs: int = 1) -> None:
        """Wait until so many jobs run."""
        self.ledger.wait_running(jobs, 90)

    def assert_nothing_lost(self, seconds: float = 120, *, twice: int = 0) -> None:
        """Every accepted job is done, at most ``twice`` of them started again."""
        until(lambda: not self.ledger.account().lost, seconds, lambda: f"{self.ledger.account()}\n{self.journal()}")
        account = self.ledger.account()
        assert account.accepted, "no job was accepted, so this proves nothing"
        assert len(account.started_twice) <= twice, str(account)

    def reset(self) -> None:
        """Empty the broker."""
        self.sh(EMPTIES[self.broker])
        self.client = self._client()  # what the old one has declared is gone
        until(self.client.ping, 90, "the broker answers")

    def reboot(self) -> None:
        """End and start the machine."""
        self.container.restart(timeout=120)
        time.sleep(0.5)
        self.manager.wait_booted()

    def _client(self) -> Client:
        if self.broker == RABBITMQ:
            client = RabbitMQClient(self.url("producer"), self.ledger, self)
            client.app.conf.broker_use_ssl = self.trusting
            return client
        if self.broker == POSTGRESQL:
            address = f"pgmq://celery:{self.password}@127.0.0.1:{self.port}/celery"
            return PGMQClient(f"{address}?sslmode=verify-full&sslrootcert={self.authority}", self.ledger)
        scheme = "rediss" if self.broker in BY_TLS else "redis"
        client = Client(f"{scheme}://celery:{self.password}@127.0.0.1:{self.port}/0", self.ledger)
        if self.broker in BY_TLS:
            trusting = {"ssl_cert_reqs": "required", "ssl_ca_certs": str(self.authority)}
            client.app.conf.update(broker_use_ssl=trusting, redis_backend_use_ssl=trusting)
        return client

    def url(self, user: str) -> str:
        """Return the URL by which a user of RabbitMQ comes in from outside."""
        return f"amqps://{user}:{self.password}@127.0.0.1:{self.port}/{rabbitmq_definitions.VHOST}"

    @property
    def authority(self) -> Path:
        """Who vouches for the broker, where it speaks TLS."""
        return self.folder / "tls" / "celery" / "ca.pem"

    @property
    def trusting(self) -> dict[str, Any]:
        """The options of a client of RabbitMQ that believes the host, and nobody else."""
        return {"ca_certs": str(self.authority), "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}

    def remove(self) -> None:
        """End it and leave nothing."""
        self.container.remove(force=True, v=True)


def kinds(*managers: str) -> list[str]:
    """Return the machines to test on, by what manages their processes, or by a broker other than Redis."""
    wanted = os.environ.get("CELERYKIT_TEST_SUITES", LIKE).split()
    found = [kind for kind in wanted if MANAGERS.get(kind.partition("-")[2], Systemd).name in managers]
    return found + [kind for kind in BROKERS if LIKE in wanted and kind.partition("-")[2] in managers]
