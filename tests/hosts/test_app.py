"""An app with requirements of its own, deployed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.hosts import Host


@pytest.fixture
def demanding(site: Host) -> Iterator[Host]:
    """A host whose app pins another Celery than the kit's, wants a package of Debian, and has a pipe in its folder."""
    added = {"requirements.txt": "celery==5.6.3\nkombu==5.6.2\nredis==6.4.0\n", "apt.txt": "libffi-dev  # of Debian\n"}
    for name, text in added.items():
        (site.app / name).write_text(text)
    os.mkfifo(site.app / "tasks.fifo")
    try:
        yield site
    finally:
        for name in (*added, "tasks.fifo"):
            (site.app / name).unlink()
        site.deploy("--tags", "app,packages")


@pytest.mark.inits("systemd", slowly=("bookworm",))
def test_a_host_runs_an_app_on_the_celery_that_it_pins(demanding: Host) -> None:
    """With what it wants of the system; its programs are there, too, and a second run changes nothing."""
    play = demanding.deploy("--tags", "app,packages")
    assert play.code == 0, play.text
    assert "tasks.fifo: a pipe" in play.text
    current = "/opt/celery/app/current"
    assert demanding.sh(f"{current}/.deps/bin/celery --version").startswith("5.6.3")
    demanding.sh("dpkg-query --show libffi-dev")
    pid = demanding.pid("default")
    assert "5.6.3" in demanding.sh(f"journalctl --no-pager _PID={pid} | grep -o 'celery=[0-9.]*'")
    demanding.client.work(4, 0.1)
    demanding.assert_nothing_lost()
    again = demanding.deploy("--tags", "app,packages")
    assert (again.code, again.changed()) == (0, 0), again.text
