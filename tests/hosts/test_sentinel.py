"""Three machines with Redis and Sentinel: which of them has the jobs may change, and no job is lost by it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.client import Client
from tests.rig.containers import folder_in_memory
from tests.rig.hosts import Host
from tests.rig.playing import Play, play
from tests.rig.waiting import meanwhile, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sentinel")]
NAMES = ("redis1", "redis2", "redis3")
TRUSTING = "--tls --cacert /etc/redis/ca.pem"


class Cluster:
    """Three machines, of which the last runs the workers, too."""

    def __init__(self, hosts: list[Host]):
        self.hosts = hosts
        self.addresses = [host.address for host in hosts]
        self.worker = hosts[-1]
        self.ledger = self.worker.ledger
        self.worker.prepare_app()

    def deploy(self, *arguments: str, **variables: Any) -> Play:
        """Run the playbook on all of them."""
        urls = {
            name: ";".join(
                f"sentinel://{user}:{self.worker.password}@{address}:26379/{database}?ssl_cert_reqs=required"
                for address in self.addresses
            )
            for name, user, database in (("celery_broker_url", "celery", 0), ("celery_result_backend", "results", 1))
        }
        told = {
            **urls,
            "celery_environment": {"CELERYKIT_LONGEST_JOB": 10, "CELERYKIT_SENTINEL_MASTER": "celery"},
            "celery_app_source": {"folder": str(self.worker.app)},
            "celery_tls_ca": str(self.authority),
            "redis_tls": str(self.worker.folder / "tls"),
            "redis_password": self.worker.password,
            "redis_results_password": self.worker.password,
            "redis_sentinel": self.addresses,
            "redis_sentinel_password": self.worker.password[::-1],
            **variables,
        }
        inventory: dict[str, Any] = {"all": {"hosts": {}}, "brokers": {"hosts": dict.fromkeys(NAMES)}}
        for name, host, address in zip(NAMES, self.hosts, self.addresses, strict=True):
            own = host.inventory({name: {**told, "redis_bind": ["127.0.0.1", address]}})
            inventory["all"]["hosts"] |= own["all"]["hosts"]
        inventory["workers"] = {"hosts": {NAMES[-1]: {}}}
        inventory |= {"backends": {}, "beat": {}, "monitoring": {}}
        return play(inventory, self.worker.folder, *arguments)

    @property
    def authority(self) -> Any:
        """Who vouches for the servers."""
        return self.worker.folder / "tls" / "celery" / "ca.pem"

    def client(self) -> Client:
        """Return a client that asks Sentinel, as a program with the kit's loader does."""
        trusting = {"ssl_cert_reqs": "required", "ssl_ca_certs": str(self.authority)}
        login = {"username": "celery", "password": self.worker.password, "ssl": True, **trusting}
        url = ";".join(f"sentinel://celery:{self.worker.password}@{at}:26379/0" for at in self.addresses)
        client = Client(url, self.ledger, "disabled://", master_name="celery", sentinel_kwargs=login)
        client.app.conf.broker_use_ssl = trusting
        return client

    def ask(self, host: Host, command: str, *, port: int = 6379, user: str = "sentinel") -> str:
        """Ask a server, or its Sentinel, and return the answer."""
        password = self.worker.password if user in {"celery", "results"} else self.worker.password[::-1]
        program = f"REDISCLI_AUTH={password} redis-cli {TRUSTING} --user {user} -h {host.address} -p {port}"
        return host.run(f"{program} {command}")[1].strip()

    def master(self, of: Host | None = None) -> str:
        """Return the address of the master that a Sentinel names, by default the workers' machine's."""
        answer = self.ask(of or self.worker, "sentinel get-master-addr-by-name celery", port=26379)
        return answer.partition("\n")[0]

    def is_whole(self) -> bool:
        """Say whether one is the master, the others follow it, and all Sentinels know each other."""
        names = {self.master(host) for host in self.hosts}
        roles = {host.address: self.ask(host, "role").split("\n") for host in self.hosts}
        if len(names) != 1 or next(iter(names)) not in self.addresses:
            return False
        (master,) = names
        followers = [role for address, role in roles.items() if address != master]
        known = [self.ask(host, "sentinel ckquorum celery", port=26379) for host in self.hosts]
        return (
            roles[master][0] == "master"
            and all(role[0] == "slave" and role[1] == master and role[3] == "connected" for role in followers)
            and all(answer.startswith("OK 3 usable Sentinels") for answer in known)
        )


def unchanged(done: Play) -> bool:
    """Say whether a run went to its end and changed nothing anywhere."""
    return done.code == 0 and not any(map(done.changed, NAMES))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three machines to which nothing was deployed yet."""
    with ExitStack() as ending:
        hosts = []
        for _ in NAMES:
            host = Host("trixie", ending.enter_context(folder_in_memory()))
            ending.callback(host.remove)
            hosts.append(host)
        yield Cluster(hosts)


def test_three_machines_work_after_one_run_and_the_second_changes_nothing(cluster: Cluster) -> None:
    """A master, two that follow it, three Sentinels; a worker that was told of Sentinel alone does jobs."""
    first = cluster.deploy()
    assert first.code == 0, first.text
    until(cluster.is_whole, 60, lambda: cluster.ask(cluster.worker, "sentinel master celery", port=26379))
    assert cluster.master() == cluster.addresses[0]
    second = cluster.deploy()
    assert unchanged(second), second.text
    client = cluster.client()
    client.work(4, 0.1)
    cluster.worker.assert_nothing_lost()


def test_each_link_has_a_user_with_no_more_rights_than_it_needs(cluster: Cluster) -> None:
    """Who follows may copy and not read, Sentinel may not read, and who asks Sentinel may not order it about."""
    host = cluster.hosts[0]
    for user, command in (("replica", "info"), ("sentinel", "lrange celery 0 -1"), ("sentinel", "config get dir")):
        assert "NOPERM" in cluster.ask(host, command, user=user)
    for user, command in (("celery", "sentinel failover celery"), ("results", "sentinel remove celery")):
        assert "NOPERM" in cluster.ask(host, command, port=26379, user=user)
    assert "NOAUTH" in host.run(f"redis-cli -h {cluster.addresses[0]} {TRUSTING} -p 26379 ping")[1]


def test_a_dead_master_is_replaced_and_no_job_is_lost(cluster: Cluster) -> None:
    """Under publishing: workers go on by themselves, the playbook undoes nothing, and the old master follows."""
    cluster.ledger.clear()
    client, old = cluster.client(), cluster.hosts[0]
    units = "redis-server redis-sentinel"
    with meanwhile(lambda: client.work(2, 0.2), 0.2):
        until(lambda: len(cluster.ledger.account().done) > 10, 60, "jobs are done")
        old.sh(f"systemctl mask --runtime {units} && systemctl kill --signal=KILL {units}")
        until(lambda: cluster.master() in cluster.addresses[1:], 60, "another master")
        done = len(cluster.ledger.account().done)
        until(lambda: len(cluster.ledger.account().done) > done + 10, 60, "jobs are done on it")
    cluster.worker.assert_nothing_lost(twice=20)
    master = cluster.master()
    old.sh(f"systemctl unmask --runtime {units} && systemctl start {units}")
    until(cluster.is_whole, 60, lambda: cluster.ask(old, "role"))
    assert cluster.master() == master
    again = cluster.deploy()
    assert unchanged(again), again.text
    assert cluster.is_whole() and cluster.master() == master


def test_a_changed_setting_reaches_all_after_a_failover(cluster: Cluster) -> None:
    """What Redis writes down at a failover does not outlast what the inventory says, nor does it undo the failover."""
    master = cluster.master()
    changed = cluster.deploy(redis_maxmemory="300mb")
    assert changed.code == 0, changed.text
    until(cluster.is_whole, 60, "one master, two that follow")
    assert cluster.master() == master
    for host in cluster.hosts:
        assert "maxmemory:314572800" in cluster.ask(host, "info memory")
        assert host.run("grep REWRITE /etc/redis/redis.conf")[0] == 1
