"""A worker is as large as its machine, container and jobs allow, seen from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.inspection import UNSAID, inspect, slots
from tests.rig.process import READY
from tests.rig.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.containers import Rig
    from tests.rig.process import Process

ASK = """
import json
from celerykit.sizing import limits
found = limits.share(limits.read(), "default", {"default": 1})
print(json.dumps([found.cpus.value, found.memory.value]))
"""
MIB = 2**20


@pytest.mark.parametrize(
    ("options", "cpus", "memory"),
    [
        ({"nano_cpus": 500_000_000}, 0.5, None),
        ({"nano_cpus": 1_500_000_000, "cgroupns": "private"}, 1.5, None),
        ({"cpuset_cpus": "0"}, 1, None),
        ({"mem_limit": "256m", "nano_cpus": 1_000_000_000}, 1, 256 * MIB),
    ],
    ids=lambda option: ",".join(option) if isinstance(option, dict) else "",
)
def test_a_container_s_limits_are_known_inside(
    rig: Rig, options: dict[str, Any], cpus: float, memory: int | None
) -> None:
    """--cpus, --cpuset-cpus and --memory are found by the user of the image, without a right to anything."""
    process = rig.run(rig.image, entrypoint=["python", "-c", ASK], **options)
    assert process.wait_exit(60) == 0, process.logs
    found_cpus, found_memory = json.loads(process.logs)
    assert found_cpus == cpus
    assert memory is None or found_memory == memory


def wait_ready(worker: Process, *pools: str) -> None:
    """Wait until several pools in one container consume."""
    for pool in pools:
        until(lambda pool=pool: worker.answers(f"celerykit probe worker {pool} --ready"), READY, lambda: worker.logs)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"nano_cpus": 500_000_000}, 1),
        ({"nano_cpus": 1_500_000_000, "cpuset_cpus": "0,1"}, 2),
        ({"cpuset_cpus": "0"}, 1),
        ({"mem_limit": "1g", "cpuset_cpus": "0,1"}, 2),
        ({"mem_limit": "150m", "cpuset_cpus": "0,1"}, 1),
    ],
    ids=["half-a-cpu", "one-and-a-half", "one-of-two", "1g", "150m"],
)
def test_a_worker_fits_its_container(stack: Rig, options: dict[str, Any], wanted: int) -> None:
    """As many children as CPUs of its quota or set, as long as its memory has room for them; and it does its work."""
    worker = stack.worker(**UNSAID, **options)
    assert slots(worker) == {"default": wanted}
    assert f"concurrency={wanted} (tuned: " in worker.logs
    stack.client.work(4, 0.1)
    until(lambda: not stack.ledger.account().lost, 60, lambda: str(stack.ledger.account()))


def test_a_container_too_small_for_one_job_is_refused_with_what_is_needed(stack: Rig) -> None:
    """Instead of a worker that the kernel kills at its first job; whoever knows better says so."""
    worker = stack.worker(ready=False, mem_limit="64m", **UNSAID)
    assert worker.wait_exit(60) == 78
    assert "celerykit: error: memory=64 MB (/sys/fs/cgroup/" in worker.logs
    assert "MB that the app and one job at a time take. Give it more than " in worker.logs
    stack.worker(ready=False, mem_limit="64m", CELERYKIT_TUNE="off", **UNSAID).wait_log("concurrency=")


def test_more_children_than_the_memory_has_room_for_are_a_warning(stack: Rig) -> None:
    """The kernel would kill some of them under load: worker and check say so before, and how many have room."""
    told = {"CELERY_WORKER_CONCURRENCY": 64, "mem_limit": "512m"}
    check = stack.celery(["check"], "plain", **told)
    assert check.wait_exit(60) == 1
    said = "the memory has room for"
    assert "worker_concurrency=64 (CELERY_WORKER_CONCURRENCY (environment)): " + said in check.logs, check.logs
    stack.worker(ready=False, **told).wait_log(said)


def test_the_operator_and_the_app_have_the_last_word(stack: Rig) -> None:
    """What they set is in force, and CELERYKIT_TUNE=force overrules the app alone."""
    small = {"nano_cpus": 500_000_000}
    assert slots(stack.worker(**small, CELERY_WORKER_CONCURRENCY=3, CELERY_WORKER_HOSTNAME="a@%h"))["a"] == 3
    own = {**UNSAID, **small, "app": "sized"}
    assert slots(stack.worker(**own, CELERY_WORKER_HOSTNAME="b@%h"))["b"] == 4
    assert slots(stack.worker(**own, CELERYKIT_TUNE="force", CELERY_WORKER_HOSTNAME="c@%h"))["c"] == 1


def test_pools_of_one_machine_never_sum_above_it(stack: Rig, folder: Path) -> None:
    """Three pools in one container: together they have its memory once, and two share two CPUs as one each."""
    (folder / "etc").mkdir()
    for pool in ("mail", "reports"):
        (folder / "etc" / f"worker-{pool}.env").write_text("CELERYKIT_STUCK_AFTER=60\n")
    start = "for pool in $POOLS; do celerykit worker $pool & done; wait"
    told = {**UNSAID, "entrypoint": ["sh", "-c", start], "mem_limit": "1g", "cpuset_cpus": "0,1", "ready": False}
    volumes = {str(folder / "etc"): {"bind": "/etc/celery", "mode": "ro"}}
    two = stack.worker(**told, volumes=volumes, POOLS="mail reports")
    wait_ready(two, "mail", "reports")
    assert slots(two) == {"mail": 1, "reports": 1}
    two.kill()
    (folder / "etc" / "worker-web.env").write_text("CELERYKIT_WEIGHT=2\n")
    three = stack.worker(**told, volumes=volumes, POOLS="mail reports web")
    wait_ready(three, "mail", "reports", "web")
    most = {node: conf["worker_max_memory_per_child"] / 1024 for node, conf in inspect(three, "conf").items()}
    children = slots(three)
    assert sum(size * children[node] for node, size in most.items()) < 1024
    assert most["web"] > most["mail"]
