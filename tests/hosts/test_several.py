"""The inventory for several machines, as it is shipped: broker, workers and beat apart, every link by TLS."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.hosts import Host
from tests.rig.ledger import folder_in_memory
from tests.rig.playing import ROOT, Play, play
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("several")]
INVENTORY = ROOT / "playbooks" / "inventories" / "several"
NAMES = ("broker1", "worker1", "worker2")
GROUPS = {"brokers": ["broker1"], "workers": NAMES[1:], "beat": ["worker1"], "monitoring": ["worker2"], "backends": []}
SCHEMES = {"redis": "rediss://", "rabbitmq": "amqps://", "postgresql": "pgmq://"}
JOBS = 40
SEND = f"import plain; [plain.app.send_task('jobs.work', args=[0.2]) for _ in range({JOBS})]"


@pytest.fixture(scope="module")
def site() -> Iterator[Several]:
    """Three machines, with nothing on them yet."""
    with folder_in_memory() as folder:
        site = Several(folder)
        try:
            yield site
        finally:
            site.remove()


class Several:
    """Machines on one network, and the inventory of them in a folder."""

    def __init__(self, folder: Path):
        self.folder = shutil.copytree(INVENTORY, folder / "inventory")
        (self.folder / "hosts.yml").unlink()
        self.hosts = {name: self._host(folder / name) for name in NAMES}

    @staticmethod
    def _host(folder: Path) -> Host:
        folder.mkdir()
        host = Host("trixie", folder, folder.name)
        host.prepare_app()
        return host

    def deploy(self, broker: str) -> Play:
        """Run the playbook with this broker."""
        hosts = {name: {**login(host), **marked(host), "celery_broker": broker} for name, host in self.hosts.items()}
        return play({"all": {"hosts": hosts}, **members()}, self.folder)

    def done(self) -> list[int]:
        """Return how many jobs each host of workers has done."""
        return [len(self.hosts[name].ledger.account().done) for name in GROUPS["workers"]]

    def remove(self) -> None:
        """End all of them."""
        for host in self.hosts.values():
            host.remove()


def login(host: Host) -> dict[str, Any]:
    """Return how Ansible and its neighbours reach a host."""
    usual = host.inventory({"host": {}})["all"]["hosts"]["host"]
    reached = {key: value for key, value in usual.items() if key.startswith("ansible_")}
    return {**reached, "private_address": host.address}


def marked(host: Host) -> dict[str, Any]:
    """Return what is marked in the inventory as the operator's to change."""
    return {
        "celery_app": "plain",
        "celery_app_source": {"folder": str(host.app)},
        "celery_ca_bundle": os.environ.get("CELERYKIT_CA_BUNDLE", ""),
    }


def members() -> dict[str, Any]:
    """Return the groups."""
    return {group: {"hosts": dict.fromkeys(names)} for group, names in GROUPS.items()}


@pytest.mark.parametrize("broker", SCHEMES)
def test_jobs_run_on_every_host_of_workers(site: Several, broker: str) -> None:
    """One run stands all of it up, a second changes nothing, and no link is in the clear."""
    first = site.deploy(broker)
    assert first.code == 0, first.text
    worker = site.hosts["worker1"]
    assert worker.sh("cat /etc/celery/broker-url").startswith(SCHEMES[broker])
    for host in site.hosts.values():
        host.ledger.clear()
    told = "CELERYKIT_TLS_CA=/etc/celery/ca.pem CELERY_BROKER_URL=$(cat /etc/celery/broker-url)"
    send = f'{told} CELERY_LOADER=celerykit.loader:Loader /opt/celery/venv/bin/python -c "{SEND}"'
    worker.sh(f"cd /opt/celery/app/current && {send}")
    until(lambda: sum(site.done()) == JOBS, 60, lambda: f"{JOBS} jobs done: {site.done()}\n{worker.journal()}")
    assert all(site.done())
    second = site.deploy(broker)
    assert second.code == 0 and not any(map(second.changed, NAMES)), second.text
