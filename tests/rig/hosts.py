"""A test host: a container with systemd as PID 1 that holds a broker, the kit and its units, like a single machine."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import testinfra

from tests.rig.client import Client
from tests.rig.containers import APPS, INSIDE, LABEL, _free_port
from tests.rig.ledger import Ledger
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE = "celerykit/testhost-units"
FLAGS: Mapping[str, Any] = {
    # What systemd as PID 1 needs, and Debian's own sandboxed units; `privileged` is not wanted.
    "cap_add": ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"],
    "security_opt": ["seccomp=unconfined"],
    "cgroupns": "private",
    "tmpfs": {"/run": "", "/run/lock": "", "/tmp": ""},
}
WRITES_LEDGER = "/etc/systemd/system/celeryd@.service.d/ledger.conf"


class Host:
    """One machine; :meth:`remove` ends it."""

    def __init__(self, suite: str, folder: Path, **options: Any):
        self.suite = suite
        self.ledger = Ledger(folder)
        self.password = secrets.token_hex(16)
        self._port = _free_port()
        engine = docker.from_env()
        self.container = engine.containers.run(
            f"{IMAGE}-{suite}",
            detach=True,
            labels={LABEL: ""},
            hostname="host",
            ports={"6379/tcp": ("127.0.0.1", self._port)},
            volumes={
                str(APPS): {"bind": "/mnt/apps", "mode": "ro"},
                str(INSIDE): {"bind": "/mnt/inside", "mode": "ro"},
                str(folder): {"bind": "/ledger", "mode": "rw"},
            },
            **FLAGS,
            **options,
        )
        self.testinfra = testinfra.get_host(f"docker://{self.container.id}")
        self.wait_booted()

    def prepare(self) -> None:
        """Configure the broker, the app and the shared env file."""
        self.client = self._client()
        self.sh("cp /mnt/apps/*.py /mnt/inside/*.py /opt/celery/app/current/")
        self.write(
            "/etc/redis/redis.conf",
            "bind 0.0.0.0\ndir /var/lib/redis\nappendonly yes\nappendfsync always\nsupervised systemd\n"
            # Redis reads its append-only file as the default user.
            f"user default off resetpass ~* &* +@all\nuser celery on >{self.password} ~* &* +@all\n",
            owner="redis:redis",
        )
        self.sh("systemctl restart redis-server")
        url = f"redis://celery:{self.password}@127.0.0.1:6379"
        self.write("/etc/celery/broker-url", f"{url}/0\n", owner="root:celery")
        self.write("/etc/celery/result-backend", f"{url}/1\n", owner="root:celery")
        self.write(
            "/etc/celery/celery.env",
            "CELERY_APP=plain\nCELERY_BROKER_URL_FILE=/etc/celery/broker-url\n"
            "CELERY_RESULT_BACKEND_FILE=/etc/celery/result-backend\n"
            "CELERYKIT_STOP_TIMEOUT=60\nCELERYKIT_LONGEST_JOB=10\n",
            owner="root:celery",
        )
        self.write(WRITES_LEDGER, "[Service]\nReadWritePaths=/ledger\n")
        self.sh("systemctl daemon-reload")
        until(self.client.ping, 90, "Redis answers")

    def pool(self, name: str, *, enable: bool = True, **options: object) -> None:
        """Write the env file of a pool, and enable it."""
        self.write(self.env_file(name), self.pool_text(**options), owner="root:celery")
        if enable:
            self.sh(f"systemctl enable -q celeryd@{name}")

    def env_file(self, pool: str) -> str:
        """Return where the options of a pool are."""
        return f"/etc/celery/worker-{pool}.env"

    def pool_text(self, **options: object) -> str:
        """Return the options of a pool, two processes unless told otherwise."""
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

    def pid(self, pool: str) -> int:
        """Return the main process of a pool, 0 if there is none."""
        return int(self.show(f"celeryd@{pool}", "MainPID"))

    def ready(self, pool: str) -> bool:
        """Say whether a pool consumes."""
        return self.run(f"/opt/celery/venv/bin/celerykit probe worker {pool} --ready")[0] == 0

    def journal(self, unit: str = "celeryd*") -> str:
        """Return the last lines of the units' journal."""
        return self.run(f"journalctl --no-pager -n 60 -u '{unit}'")[1]

    def wait_booted(self) -> None:
        """Wait until systemd has started everything."""
        until(lambda: self.run("systemctl is-system-running")[1].strip() in {"running", "degraded"}, 180, "a boot")

    def wait_running(self, jobs: int = 1) -> None:
        """A fault proves nothing when no job runs while it happens."""
        until(lambda: len(self.ledger.account().running) >= jobs, 90, f"{jobs} running jobs", pause=0.05)

    def assert_nothing_lost(self, seconds: float = 120, *, twice: int = 0) -> None:
        """Every accepted job is done, at most ``twice`` of them started again."""
        until(lambda: not self.ledger.account().lost, seconds, lambda: f"{self.ledger.account()}\n{self.journal()}")
        account = self.ledger.account()
        assert account.accepted, "no job was accepted, so this proves nothing"
        assert len(account.started_twice) <= twice, str(account)

    def reset(self) -> None:
        """Empty the broker."""
        self.sh("systemctl start redis-server")
        self.sh(f"redis-cli --no-auth-warning --user celery --pass {self.password} flushall")
        self.client = self._client()  # what the old one has declared is gone

    def reboot(self) -> None:
        """End and start the machine."""
        self.container.restart(timeout=120)
        time.sleep(0.5)
        self.wait_booted()

    def _client(self) -> Client:
        return Client(f"redis://celery:{self.password}@127.0.0.1:{self._port}/0", self.ledger)

    def remove(self) -> None:
        """End it and leave nothing."""
        self.container.remove(force=True, v=True)


def suites() -> list[str]:
    """Return the releases of Debian to test on."""
    return os.environ.get("CELERYKIT_TEST_SUITES", "trixie").split()
