"""A Redis of a test's own, with the kit's users and one who may do everything."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from celerykit import releases
from celerykit.credentials import passwords
from tests.rig.containers import LABEL, REDIS_IMAGE
from tests.rig.waiting import until

if TYPE_CHECKING:
    import trustme

IMAGES = {"redis-8": REDIS_IMAGE, "redis-7": f"{REDIS_IMAGE}:bookworm", "valkey-8": f"{REDIS_IMAGE}:valkey"}
"""The servers that Debian's archives have; the first is the kit's own."""
PROGRAMS = {"redis-6.2": ".cache/redis-6.2/redis-server", "redis-here": "redis-server"}
"""Run on this machine as it is: no Debian has the first, and the other is this machine's own."""
TLS = ("--port", "0", "--tls-port", "6379", "--tls-auth-clients", "no")


class Server:
    """A server that a test may restart, kill and stop; its data survive what it survives on hosts."""

    def __init__(self, kind: str, authority: trustme.CA | None = None) -> None:
        """Start a server.

        :param authority: whose certificate it shall have; without one it speaks no TLS.
        """
        self.password, self._root = secrets.token_hex(8), secrets.token_hex(8)
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        Path(self._folder.name).chmod(0o777)
        users = (
            passwords.users(self.password, self.password, secrets.token_hex(8))
            + f"user root on >{self._root} ~* &* +@all\n"
        )
        (Path(self._folder.name) / "users.acl").write_text(users)
        self.port = _free_port()
        self.url = f"redis://celery:{self.password}@127.0.0.1:{self.port}/0"
        self._command = ["/etc/redis/redis.conf"]
        encrypted = self._encrypt(authority) if authority else {}
        # A newer redis-py tries again by itself what was sent by a connection that has ended.
        again = (
            {}
            if releases.version_of("redis") >= (6,)
            else {"retry": Retry(NoBackoff(), 3), "retry_on_error": [OSError, redis.ConnectionError]}
        )
        self.root = redis.Redis(
            "127.0.0.1", self.port, username="root", password=self._root, socket_timeout=5, **encrypted, **again
        )
        self._program, self._image = PROGRAMS.get(kind), IMAGES.get(kind)
        self._process: Any = None
        self._container: Any = None
        self.start()

    @property
    def authority_file(self) -> Path:
        """Whom its clients believe, where it speaks TLS."""
        return Path(self._folder.name) / "ca.pem"

    def start(self) -> None:
        """Start, or start again, and wait for an answer."""
        if self._program:
            self._start_program(self._program)
        elif self._container is None:
            self._start_container()
        else:
            self._container.start()
        until(self._answers, 30, "Redis answers", pause=0.05)

    def reset(self) -> None:
        """Empty it, and take back what a test has set."""
        self.root.config_set("maxmemory", 0)
        self.root.replicaof("NO", "ONE")
        self.root.acl_load()
        self.root.flushall()
        self.root.script_flush()

    def signal(self, name: str) -> None:
        """Send a signal to the server itself."""
        if self._program:
            self._process.send_signal(getattr(signal, name))
        else:
            self._container.kill(signal=name)

    def kill(self) -> None:
        """Kill it and wait for its end."""
        self.signal("SIGKILL")
        (self._process or self._container).wait()

    def close(self) -> None:
        """Remove it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._container is not None:
            self._container.remove(force=True, v=True)
        self._folder.cleanup()

    def _encrypt(self, authority: trustme.CA) -> dict[str, Any]:
        """Have a certificate of its own, and return what a client needs to check it."""
        folder, own = Path(self._folder.name), authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(self.authority_file)
        own.private_key_and_cert_chain_pem.write_to_path(folder / "own.pem")
        (folder / "own.pem").chmod(0o644)  # Redis runs as a user of its own
        files = ("--tls-cert-file", "own.pem", "--tls-key-file", "own.pem", "--tls-ca-cert-file", "ca.pem")
        self._command += [*TLS, *(f"/secrets/redis/{word}" if word.endswith(".pem") else word for word in files)]
        self.url = f"{self.url.replace('redis', 'rediss', 1)}?ssl_cert_reqs=required"
        self.url += f"&ssl_ca_certs={self.authority_file}"
        return {"ssl": True, "ssl_ca_certs": str(self.authority_file)}

    def _start_program(self, program: str) -> None:
        folder = self._folder.name
        options = {"port": self.port, "dir": folder, "aclfile": f"{folder}/users.acl", "appendonly": "yes", "save": ""}
        command = [program, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _start_container(self) -> None:
        self._container = docker.from_env().containers.run(
            self._image,
            self._command,
            detach=True,
            labels={LABEL: ""},
            ports={"6379/tcp": ("127.0.0.1", self.port)},
            volumes={self._folder.name: {"bind": "/secrets/redis", "mode": "ro"}},
        )

    def _answers(self) -> bool:
        try:
            return bool(self.root.ping())
        except redis.RedisError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
