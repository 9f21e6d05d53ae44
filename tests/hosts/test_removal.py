"""What the documentation says of removal leaves a machine as it was, and free to be deployed to again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.rig.hosts import Host
from tests.rig.managers import POOLS
from tests.rig.record import DOCS
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

WHERE = {
    "systemd": ("hosts.md", "daemon-reload"),
    "sysvinit": ("init.md", "telinit"),
    "supervisor": ("init.md", "supervisorctl update"),
}
"""The page of each manager, and a word of the commands that are for it."""
LEFT = (
    "find /etc /opt /run /usr/local /var/lib /var/log -iname '*celery*' "
    "-not -path '/var/lib/dpkg/*' -not -path '*/redis*'  # the broker stays"
)
NOTHING = {"celery_workers": [], "celery_beat": False, "celery_flower": False}


@pytest.fixture
def spare(machine: Host) -> Iterator[Host]:
    """Another machine of the same kind, deployed to: this one is still wanted."""
    with Host.deployed(machine.kind) as host:
        yield host


def commands(manager: str) -> list[str]:
    """Return what an operator is told to type."""
    page, word = WHERE[manager]
    text = (DOCS / page).read_text(encoding="utf-8").partition(" Removal\n")[2].partition("\n## ")[0]
    (block,) = (block for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) if word in block)
    return [line.removeprefix("# ") for line in block.splitlines()]


@pytest.mark.inits(slowly=("systemd", "sysvinit", "supervisor"))
@pytest.mark.slow
def test_a_machine_is_rid_of_the_kit_by_the_documented_commands(spare: Host) -> None:
    """Drained and removed: no file, no process and no user is left, jobs wait at the broker, and it can come again."""
    play = spare.deploy(**NOTHING)
    assert play.code == 0, play.text
    for command in commands(spare.manager.name):
        spare.sh(command)
    assert spare.sh(LEFT).split() == []
    assert spare.run("pgrep --full --list-full '[c]elery'")[1] == ""
    assert spare.run("id celery")[0] != 0
    spare.client.work(3, 0.1)
    spare.open_ledger()
    again = spare.deploy()
    assert again.code == 0, again.text
    until(lambda: all(map(spare.ready, POOLS)), 90, "both pools")
    spare.assert_nothing_lost()
