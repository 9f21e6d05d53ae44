"""A second app on a test host, as an inventory of its own deploys it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from tests.rig.client import Client
from tests.rig.hosts import SECOND_PORT
from tests.rig.ledger import Ledger
from tests.rig.playing import Play, play

if TYPE_CHECKING:
    from tests.rig.hosts import Host

NAME = "shop"
POOL = "default"
APP = """
import celerykit_survival
from celery import Celery

celerykit_survival.FOLDER = "/ledger/second"
app = Celery("second", include=["celerykit_survival"])
"""
"""An app whose jobs write a ledger of their own."""
WRITES = "[Service]\nReadWritePaths=/ledger\n"
OF_ANOTHER_BROKER = {
    "redis_port": SECOND_PORT,
    "celery_broker_url": f"redis://celery:{{{{ redis_password }}}}@127.0.0.1:{SECOND_PORT}/0",
    "celery_result_backend": f"redis://results:{{{{ redis_results_password }}}}@127.0.0.1:{SECOND_PORT}/1",
}
OF_ANOTHER_DATABASE = {
    "celery_broker_url": "redis://celery:{{ redis_password }}@127.0.0.1:6379/2",
    "celery_result_backend": "redis://results:{{ redis_results_password }}@127.0.0.1:6379/3",
}
"""Where no second server can be."""
VARIABLES = {
    "celery_app": "second",
    "celery_instance": NAME,
    "celery_workers": [{"name": POOL, "options": {"concurrency": 2}}],
    "celery_flower_options": {"port": 5556},
}


class Second:
    """The app beside the first one of a host."""

    def __init__(self, host: Host):
        self.host = host
        self.has_broker = host.manager.name == "systemd"
        self.folder = host.folder / "second"
        shutil.copytree(host.app, self.folder / "app", ignore=lambda *_: {"plain.py"})
        (self.folder / "app" / "second.py").write_text(APP, encoding="utf-8")
        (host.ledger.folder / "second").mkdir()
        self.ledger = Ledger(host.ledger.folder / "second")
        if self.has_broker:
            host.write(f"/etc/systemd/system/celeryd-{NAME}@.service.d/ledger.conf", WRITES)
        port, database = (host.second_port, 0) if self.has_broker else (host.port, 2)
        results = f"redis://results:{host.password}@127.0.0.1:{port}/{database + 1}"
        self.client = Client(f"redis://celery:{host.password}@127.0.0.1:{port}/{database}", self.ledger, results)

    def deploy(self, *, with_broker: bool = False, **variables: Any) -> Play:
        """Run the playbook with its inventory.

        :param with_broker: ask for a server of its own, where it has none.
        """
        broker = OF_ANOTHER_BROKER if self.has_broker else OF_ANOTHER_DATABASE
        source = {"celery_app_source": {"folder": str(self.folder / "app")}}
        inventory = self.host.inventory({"host": {**VARIABLES, **broker, **source, **variables}})
        if not (self.has_broker or with_broker):
            inventory["brokers"] = {}
        return play(inventory, self.folder)

    def pid(self) -> int:
        """Return the main process of its pool, as its own kit says."""
        return int(json.loads(self.host.sh(f"celerykit-{NAME} status --format json"))[0]["pid"])

    def restart(self) -> str:
        """Return the command that restarts all of it."""
        return {
            "systemd": f"systemctl restart celeryd-{NAME}",
            "sysvinit": f"service celeryd-{NAME} restart",
            "supervisor": f"supervisorctl restart celeryd-{NAME}@{POOL}",
        }[self.host.manager.name]
