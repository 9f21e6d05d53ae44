"""The units themselves: what is in effect, what an app may do, and what nobody may see."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from celery.exceptions import TimeoutError as NoResult

from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.hosts import Host

UNITS = ("celeryd", "celeryd@imports", "celerybeat", "celery-flower")
PATIENCE = 90.0
"""Seconds that a busy machine may take for a job."""


def test_what_is_promised_of_the_units_is_in_effect(host: Host) -> None:
    """The effective properties: budgets, restarts, memory behaviour, and a sandbox as tight as a worker stands."""
    wanted = {
        "Type": "notify",
        "KillMode": "mixed",
        "OOMPolicy": "continue",
        "Restart": "always",
        "StartLimitIntervalUSec": "0",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "User": "celery",
    }
    names = ",".join(wanted)
    shown = dict(
        line.split("=", 1) for line in host.sh(f"systemctl show --property={names} celeryd@imports").splitlines()
    )
    assert shown == wanted


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_sandboxed_and_without_fault(host: Host, unit: str) -> None:
    """An exposure of 2.0 at most, as systemd itself judges, and nothing that it finds fault with."""
    verdict = host.sh(f"systemd-analyze security --no-pager {unit}.service").splitlines()[-1]
    assert float(re.findall(r"\d+\.\d+", verdict)[0]) <= 2.0, verdict
    path = host.show(unit, "FragmentPath")
    assert host.run(f"systemd-analyze verify {path}") == (0, "")


def test_no_password_is_seen_on_the_host(host: Host) -> None:
    """Neither in the process list, nor in units, nor in the journal, nor in a file that others can read."""
    assert host.password not in host.sh("ps -ef")
    assert host.password not in host.sh("systemctl show 'celery*'; systemctl cat 'celeryd*'")
    assert host.password not in host.sh("journalctl --no-pager")
    assert host.sh("stat -c '%a %U:%G' /etc/celery/broker-url").strip() == "640 root:celery"


@pytest.mark.slow
def test_a_limit_of_one_pool_is_a_drop_in(host: Host) -> None:
    """MemoryMax, CPUQuota and Nice reach the pool that they are for, and no other."""
    host.drop_in("imports", "MemoryMax=512M\nCPUQuota=50%\nNice=5")
    assert host.show("celeryd@imports", "MemoryMax") == str(512 * 1024**2)
    assert host.show("celeryd@imports", "CPUQuotaPerSecUSec") == "500ms"
    assert host.show("celeryd@default", "MemoryMax") == host.show("celeryd@default", "CPUQuotaPerSecUSec") == "infinity"
    host.sh("systemctl restart celeryd@imports")
    assert host.sh(f"ps -o nice= -p {host.pid('imports')}").strip() == "5"


@pytest.mark.parametrize(
    ("task", "arguments", "line", "refusal"),
    [
        ("jobs.write", ["/srv/media/picture"], "ReadWritePaths=/srv/media", "Read-only file system"),
        pytest.param(
            *("jobs.make_code", [], "MemoryDenyWriteExecute=no", "Operation not permitted|Permission denied"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["folder", "code"],
)
def test_an_app_that_needs_more_gets_it_by_one_line(
    host: Host, task: str, arguments: list[str], line: str, refusal: str
) -> None:
    """A folder to write in, or code made at run time: refused by the sandbox, allowed by a drop-in of the pool."""
    host.sh("systemctl stop celeryd@default; install --directory --owner=celery /srv/media")
    with pytest.raises((OSError, PermissionError), match=refusal):
        result(host, task, arguments)
    host.drop_in("imports", line)
    host.sh("systemctl restart celeryd@imports")
    result(host, task, arguments)


@pytest.mark.slow
def test_a_pool_that_starts_slowly_is_let_be(host: Host) -> None:
    """As one that loads a model once it is ready: systemd waits for longer than its own time-out, and jobs run then."""
    host.sh("systemctl stop celeryd@default")
    host.drop_in("imports", "Environment=CELERY_APP=slow CELERYKIT_STUCK_AFTER=10\nTimeoutStartSec=20")
    host.sh("systemctl --no-block restart celeryd@imports")
    until(
        lambda: "still starting" in host.journal("celeryd@imports"), PATIENCE, lambda: host.journal("celeryd@imports")
    )
    pid = host.pid("imports")
    host.client.work(2, 0.1)
    time.sleep(75)
    assert (host.pid("imports"), host.show("celeryd@imports", "ActiveState")) == (pid, "activating"), host.journal()
    host.sh("touch /ledger/loaded")
    until(lambda: host.ready("imports"), PATIENCE, "ready")
    host.assert_nothing_lost()
    assert (host.pid("imports"), host.show("celeryd@imports", "NRestarts")) == (pid, "0")


def result(host: Host, task: str, arguments: list[str]) -> object:
    """Have a job done and return its result, or raise what it raised."""
    job = host.client.submit(task, *arguments)
    try:
        return host.client.result(job or "").get(timeout=PATIENCE)
    except NoResult as exc:
        raise AssertionError(f"{task} has no result\n{host.journal()}") from exc
