"""What the tests on hosts share: a machine a release of Debian and init system, and a clean account for each test.

A test runs on machines with systemd, or on those that its mark ``inits`` names: in `make test`, or ``slowly``. There
the older release of Debian is named where nothing in the test depends on the release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.hosts import Host, kinds
from tests.rig.managers import POOLS
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look first at what the playbook has left: after changes by hand it would have to be deployed once more."""
    items.sort(key=lambda item: "host" in getattr(item, "fixturenames", ()))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on each machine that it is for; all of a machine's are run by one process."""
    if "machine" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("inits") or pytest.mark.inits("systemd").mark
        slowly = mark.kwargs.get("slowly", ())
        machines = [
            pytest.param(
                kind,
                marks=[pytest.mark.xdist_group(kind), *[pytest.mark.slow] * (kind in {*slowly, *kinds(*slowly)})],
            )
            for kind in kinds(*mark.args, *slowly)
        ]
        metafunc.parametrize("machine", machines, indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Keep the journal of a failed test's host while it is still there."""
    report = yield
    host = getattr(item, "funcargs", {}).get("machine")
    if report.failed and host is not None:
        report.sections.append(("host", f"{host.journal()}\n{host.ledger.account()}"))
    return report


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A machine that was empty, with broker, app, two pools, beat and Flower deployed to it."""
    with Host.deployed(request.param) as host:
        yield host


@pytest.fixture
def site(machine: Host) -> Host:
    """The machine with both pools, as the playbook has left it; what a test has done by hand is deployed away."""
    if machine.pools_deployed != set(POOLS):
        tidy(machine)
        done = machine.deploy()
        assert done.code == 0, done.text
    machine.ledger.clear()
    return machine


@pytest.fixture
def host(machine: Host) -> Host:
    """The machine with its two pools consuming and no job anywhere, for changes by hand; beat and Flower are off."""
    if machine.pools_deployed or not is_as_it_should_be(machine):
        machine.pools_deployed = set()
        tidy(machine)
        machine.reset()
        for pool in POOLS:
            machine.pool(pool)
        machine.do("start")
    machine.ledger.clear()
    return machine


def tidy(host: Host) -> None:
    """Stop everything but the broker, and take away what tests have put there by hand."""
    host.manager.turn_off()
    host.run("rm -rf /etc/celery/worker-*.env /etc/celery/beat.env")


def is_as_it_should_be(host: Host) -> bool:
    """Say whether a restart of everything, which takes its time, can be left out."""
    if not is_tidy(host):
        return False
    try:
        # A pool that has just lost its broker, or a job that has just ended, needs a moment.
        until(lambda: is_well(host), 10, "well")
    except AssertionError:
        return False
    return True


def is_tidy(host: Host) -> bool:
    """Say whether the files are as they should be."""
    files = host.run("ls /etc/celery /etc/systemd/system/celeryd@*.service.d /etc/default/celeryd")[1].split()
    pools = [name for name in files if name.startswith("worker-")]
    same = all(host.run(f"cat {host.env_file(pool)}")[1] == host.pool_text(pool) for pool in POOLS)
    return same and len(pools) == len(POOLS) and not {"test.conf", "beat.env", "celeryd"} & set(files)


def is_well(host: Host) -> bool:
    """Say whether both pools consume and no job is anywhere."""
    umbrella = "systemctl is-active -q celeryd && " * (host.manager.name == "systemd")
    code, said = host.run(f"{umbrella}/opt/celery/venv/bin/celerykit status")
    well = code == 0 and "not enabled" not in said and all(map(host.pid, POOLS))
    return well and host.client.ping() and host.client.queued() + host.client.unacknowledged() == 0
