"""A Redis that fails over: three servers, and three Sentinels that agree on which of them is the master."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from redis.sentinel import MasterNotFoundError
from redis.sentinel import Sentinel as Watch

from celerykit.credentials import passwords
from tests.rig.client import Client
from tests.rig.containers import REDIS_IMAGE
from tests.rig.process import READY
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig
    from tests.rig.process import Process

MASTER = "jobs"
SERVERS = SENTINELS = 3
PORT, WATCH_PORT = 6379, 26379
USERS = """\
user replica on >{password} resetkeys resetchannels -@all +psync +replconf +ping
user sentinel on >{password} resetkeys allchannels -@all +multi +exec +slaveof +ping +role +info +publish +subscribe \
+config|rewrite +client|setname +client|kill +script|kill
"""
WATCHED = """\
port {port}
protected-mode no
sentinel monitor {master} {address} 6379 2
sentinel auth-user {master} sentinel
sentinel auth-pass {master} {password}
sentinel down-after-milliseconds {master} 2000
sentinel failover-timeout {master} 8000
"""


class Sentinel:
    """The servers of one rig, which are its broker from now on."""

    def __init__(self, rig: Rig):
        self._rig = rig
        self._password = secrets.token_hex(16)
        folder = rig.ledger.folder / "redis"
        folder.mkdir()
        users = passwords.users(rig.password, rig.password, self._password) + USERS.format(password=self._password)
        (folder / "users.acl").write_text(users)
        self._secrets = {str(folder): {"bind": "/secrets/redis", "mode": "ro"}}
        self.servers = [self._server()]
        master = address(self.servers[0])
        self.servers += [self._server("--replicaof", master, str(PORT)) for _ in range(1, SERVERS)]
        self._watchers = [self._watcher(master) for _ in range(SENTINELS)]
        self._watch = Watch([(address(watcher), WATCH_PORT) for watcher in self._watchers], socket_timeout=2)
        rig.broker_url = ";".join(
            f"sentinel://celery:{rig.password}@{address(watcher)}:{WATCH_PORT}/0" for watcher in self._watchers
        )
        rig.client = Client(rig.broker_url, rig.ledger, master_name=MASTER)
        until(self._is_whole, READY, "a master with replicas that all Sentinels know")
        until(rig.client.ping, READY, "the master answers")

    def fail_over(self) -> None:
        """Kill the master, wait until another one is, and start the old one as one of its replicas."""
        before = self._master()
        old = next(server for server in self.servers if address(server) == before)
        old.signal("SIGKILL")
        until(lambda: self._master() not in {before, ""}, 60, "another master")
        old.wait_exit(30)
        old.start()

    def wait_whole(self) -> None:
        """Wait until the next failover can be borne."""
        until(self._is_whole, 60, "a master with replicas")

    def _master(self) -> str:
        """Return the master's address, and nothing while there is none."""
        try:
            return str(self._watch.discover_master(MASTER)[0])
        except MasterNotFoundError:
            return ""

    def _is_whole(self) -> bool:
        try:
            told = [watcher.sentinel_master(MASTER) for watcher in self._watch.sentinels]
            replicas = self._watch.discover_slaves(MASTER)
        except Exception:  # whatever servers raise that begin
            return False
        agreed = all(one["num-other-sentinels"] == SENTINELS - 1 and not one["is_odown"] for one in told)
        return agreed and len(replicas) == SERVERS - 1

    def _server(self, *arguments: str) -> Process:
        options = {"--dir": "/tmp", "--min-replicas-to-write": "1", "--masteruser": "replica"}
        told = [word for pair in options.items() for word in pair]
        command = ["/etc/redis/redis.conf", *told, "--masterauth", self._password, *arguments]
        return self._rig.run(REDIS_IMAGE, command=command, volumes=self._secrets)

    def _watcher(self, master: str) -> Process:
        text = WATCHED.format(port=WATCH_PORT, master=MASTER, address=master, password=self._password)
        # Sentinel writes into its configuration.
        command = ["-c", f"echo '{text}' > /tmp/sentinel.conf && exec redis-server /tmp/sentinel.conf --sentinel"]
        return self._rig.run(REDIS_IMAGE, command=command, entrypoint="sh")


def address(process: Process) -> str:
    """Return where a container is reached, from this machine too."""
    process.container.reload()
    networks: dict[str, Any] = process.container.attrs["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])
