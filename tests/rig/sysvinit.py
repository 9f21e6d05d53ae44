"""A test host with sysvinit as PID 1, the kit's init scripts, a broker and two pools."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import docker

from tests.rig.client import Client
from tests.rig.containers import APPS, INSIDE, LABEL, _free_port
from tests.rig.ledger import Ledger
from tests.rig.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "celerykit/testhost-sysvinit"
POOLS = ("default", "imports")
STOP_TIMEOUT = 30


class Host:
    """One machine; :meth:`remove` ends it."""

    def __init__(self, folder: Path):
        self.ledger = Ledger(folder)
        self.password = secrets.token_hex(16)
        self._port = _free_port()
        self.container = docker.from_env().containers.run(
            IMAGE,
            detach=True,
            labels={LABEL: ""},
            # Without it init cannot end its container.
            cap_add=["SYS_BOOT"],
            tmpfs={"/run": "", "/tmp": ""},
            ports={"6379/tcp": ("127.0.0.1", self._port)},
            volumes={
                str(APPS): {"bind": "/mnt/apps", "mode": "ro"},
                str(INSIDE): {"bind": "/mnt/inside", "mode": "ro"},
                str(folder): {"bind": "/ledger", "mode": "rw"},
            },
        )
        self.wait_booted()

    def prepare(self) -> None:
        """Configure the broker, the app and two pools, and let the boots to come start them."""
        self.sh("cp /mnt/apps/*.py /mnt/inside/*.py /opt/celery/app/current/")
        self.write(
            "/etc/redis/redis.conf",
            "bind 0.0.0.0\ndir /var/lib/redis\nappendonly yes\nappendfsync always\ndaemonize yes\n"
            "pidfile /run/redis/redis-server.pid\nlogfile /var/log/redis/redis-server.log\n"
            f"requirepass {self.password}\n",
        )
        # At a first boot its script may be still about to write the pid file that it stops by.
        self.run("while pkill -x redis-server; do sleep 0.2; done")
        self.sh("service redis-server start")
        self.write("/etc/celery/broker-url", f"redis://:{self.password}@127.0.0.1:6379/0\n")
        self.write(
            "/etc/celery/celery.env",
            "CELERY_APP=plain\nCELERY_BROKER_URL_FILE=/etc/celery/broker-url\nCELERYKIT_LONGEST_JOB=10\n"
            f"CELERYKIT_STOP_TIMEOUT={STOP_TIMEOUT}\n",
        )
        for pool in POOLS:
            self.pool(pool)
        self.client = Client(f"redis://:{self.password}@127.0.0.1:{self._port}/0", self.ledger)
        until(self.client.ping, 60, "Redis answers")
        self.sh("service celeryd create-paths")

    def pool(self, name: str, **options: object) -> None:
        """Write the env file of a pool: two processes, and what a test asks for."""
        told = {"CELERY_WORKER_CONCURRENCY": 2, **options}
        self.write(f"/etc/celery/worker-{name}.env", "".join(f"{key}={value}\n" for key, value in told.items()))

    def write(self, path: str, text: str) -> None:
        """Write a file that the group celery may read."""
        self.sh(f"printf %s '{text}' >{path} && chgrp celery {path} && chmod 0644 {path}")

    def run(self, command: str) -> tuple[int, str]:
        """Run a shell command and return its exit code and all output."""
        code, output = self.container.exec_run(["sh", "-c", command])
        return int(code), output.decode(errors="replace")

    def sh(self, command: str) -> str:
        """Run a shell command and return its output.

        :raises AssertionError: if it fails.
        """
        code, output = self.run(command)
        assert code == 0, f"{command!r} ended with {code}: {output}\n{self.logs()}"
        return output

    def pid(self, pool: str) -> int:
        """Return the main process of a pool, 0 if there is none."""
        return int(
            self.run(f"sv status /var/lib/celeryd/worker-{pool} | sed -n 's/^run: [^(]*(pid \\([0-9]*\\)).*/\\1/p'")[1]
            or 0
        )

    def ready(self, pool: str) -> bool:
        """Say whether a pool consumes."""
        return self.run(f"CELERYKIT_STATE_DIR=/run/celery celerykit probe worker {pool} --ready")[0] == 0

    def logs(self) -> str:
        """Return the last lines of each pool."""
        return self.run("tail -n 30 /var/log/celery/*/current")[1]

    def wait_booted(self) -> None:
        """Wait until init has run all scripts of its runlevel."""
        until(
            lambda: "N 2" in self.run("runlevel")[1] and not self.run("pgrep -f '[i]nit.d/rc [0-9S]'")[1], 120, "a boot"
        )

    def wait_running(self, jobs: int = 1) -> None:
        """A fault proves nothing when no job runs while it happens."""
        until(lambda: len(self.ledger.account().running) >= jobs, 60, f"{jobs} running jobs", pause=0.05)

    def assert_nothing_lost(self, *, twice: int = 0) -> None:
        """Every accepted job is done, at most ``twice`` of them started again."""
        until(lambda: not self.ledger.account().lost, 120, lambda: f"{self.ledger.account()}\n{self.logs()}")
        account = self.ledger.account()
        assert account.accepted, "no job was accepted, so this proves nothing"
        assert len(account.started_twice) <= twice, str(account)

    def reboot(self) -> None:
        """End and start the machine, which runs the stop scripts and the start scripts."""
        self.container.restart(timeout=120)
        self.wait_booted()

    def remove(self) -> None:
        """End it and leave nothing."""
        self.container.remove(force=True, v=True)
