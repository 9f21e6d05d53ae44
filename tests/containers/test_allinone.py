"""Redis, a worker and beat in one container: ``docker run celerykit/allinone``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rig.containers import APPS, INSIDE
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig
    from tests.rig.process import Process

IMAGE = "celerykit/allinone"
STOP_TIMEOUT = 30


def allinone(rig: Rig, app: str, **environment: str) -> Process:
    """Start the container with its data on a volume."""
    told = {"CELERY_APP": app, "CELERYKIT_STOP_TIMEOUT": str(STOP_TIMEOUT), "CELERYKIT_LONGEST_JOB": "10"}
    return rig.run(
        IMAGE,
        environment={**told, "PYTHONPATH": "/rig", **environment},
        volumes={
            str(APPS): {"bind": "/app", "mode": "ro"},
            str(INSIDE): {"bind": "/rig", "mode": "ro"},
            str(rig.ledger.folder): {"bind": "/ledger", "mode": "rw"},
            f"{rig.name}-data": {"bind": "/data", "mode": "rw"},
        },
    )


def wait_healthy(container: Process) -> None:
    """Wait until Docker says that it is healthy, which is when all its parts are ready."""
    until(lambda: container.state["Health"]["Status"] == "healthy", 120, lambda: f"healthy; log:\n{container.logs}")


def submit(container: Process, number: int, seconds: float) -> None:
    """Send jobs from inside."""
    container.sh(f"python -m celerykit_submit {number} {seconds}")


def pid_of(container: Process, part: str) -> str:
    """Return the process that supervisor has started for a part, nothing if there is none."""
    each = "for p in $(cat /proc/1/task/*/children); do "
    return container.sh(each + f"tr '\\0' ' ' </proc/$p/cmdline | grep -q '{part}' && echo $p; done; true").strip()


def test_one_container_runs_jobs_and_drains_at_docker_stop(rig: Rig) -> None:
    """Healthy is when all is ready; a stop lets running jobs end, and the next start runs those that waited."""
    container = allinone(rig, "plain")
    wait_healthy(container)
    submit(container, 8, 3.0)
    rig.ledger.wait_running(2)
    container.stop(seconds=60)
    assert container.state["ExitCode"] == 0, container.logs
    assert not rig.ledger.account().running, str(rig.ledger.account())
    assert rig.ledger.account().lost, "every job was done before the stop, so this proves nothing"
    container.start()
    until(lambda: not rig.ledger.account().lost, 120, lambda: f"{rig.ledger.account()}\n{container.logs}")
    assert not rig.ledger.account().started_twice, str(rig.ledger.account())


def test_a_part_that_dies_is_started_again(rig: Rig) -> None:
    """Redis, the worker and beat, killed under load: the container goes on, and no job is lost."""
    container = allinone(rig, "plain")
    wait_healthy(container)
    submit(container, 6, 3.0)
    rig.ledger.wait_running(2)
    for part in ("redis-server", "celerykit worker", "celerykit beat"):
        pid = pid_of(container, part)
        container.sh(f"kill -KILL {pid}")
        until(lambda was=pid, what=part: pid_of(container, what) not in {was, ""}, 60, f"{part} again")
    until(lambda: not rig.ledger.account().lost, 120, lambda: f"{rig.ledger.account()}\n{container.logs}")
    wait_healthy(container)


def test_a_part_that_cannot_start_ends_the_container(rig: Rig) -> None:
    """The exit code is not 0, and the end of the log has the part's last lines and its name."""
    container = allinone(rig, "broken")
    assert container.wait_exit(120) == 1
    assert "No module named 'no_such_module'" in container.logs
    assert "could not be started, see its last lines above" in container.logs
