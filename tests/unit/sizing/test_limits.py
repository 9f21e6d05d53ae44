"""What a process may use, read from trees that containers and kernels have written."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery.utils import sysinfo
from hypothesis import given
from hypothesis import strategies as st

from celerykit.sizing import limits
from tests.rig.since import since

TREES = Path(__file__).parent / "trees"
MIB = 2**20
ALONE = {"default": 1.0}
weights = st.dictionaries(st.text("abc", min_size=1), st.floats(0.1, 100), min_size=1, max_size=5)


def plant(name: str, root: Path) -> Path:
    """Lay out the files of a recorded tree under ``root``."""
    for part in (TREES / f"{name}.txt").read_text(encoding="utf-8").split("== ")[1:]:
        path, _, text = part.partition("\n")
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


def alone(name: str, root: Path) -> limits.Limits:
    """Return what the only pool of a machine of 8 CPUs may use."""
    return limits.share(limits.read(plant(name, root), cpus=8), "default", ALONE)


@pytest.mark.parametrize(
    ("tree", "cpus", "memory"),
    [
        ("v1-docker", 0.5, 256 * MIB),
        ("v1-namespace", 1.5, 24684084 * 1024),
        ("v1-parent", 8, 128 * MIB),
        ("v1-unit-in-container", 0.5, 100 * MIB),
        ("v2-docker", 0.5, 256 * MIB),
        ("v2-unlimited", 8, 8039104 * 1024),
        ("v2-unit", 1.5, 1536 * MIB),
        ("v2-nested", 1.5, 512 * MIB),
        ("hybrid", 1.2, 1024 * MIB),
        ("nothing", 8, 4028052 * 1024),
    ],
)
def test_the_least_limit_holds_wherever_it_stands(tmp_path: Path, tree: str, cpus: float, memory: int) -> None:
    """Version 1, version 2 and both at once; of a group, of its ancestors in and out of sight, of the machine."""
    found = alone(tree, tmp_path)
    assert (found.cpus.value, found.memory.value) == (cpus, memory)


def test_a_limit_says_where_it_stands(tmp_path: Path) -> None:
    """Who wonders at a small pool finds the file that says so."""
    found = alone("v1-docker", tmp_path)
    assert found.cpus.source == "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"
    assert found.memory.source == "/sys/fs/cgroup/memory/memory.limit_in_bytes"
    assert found.files == limits.Limit(20000, "ulimit -n")


def test_where_nothing_can_be_read_nothing_is_limited(tmp_path: Path) -> None:
    """A machine that hides its /proc keeps no worker from starting."""
    found = limits.share(limits.read(tmp_path, cpus=2), "default", ALONE)
    assert found.cpus.value == 2
    assert found.memory == found.files == limits.Limit(float("inf"), "no limit found")
    assert alone("v2-unlimited", tmp_path).files.source == "no limit found"


@since("auto")
@pytest.mark.parametrize("tree", [path.stem for path in sorted(TREES.glob("*.txt"))])
def test_no_quota_is_missed_that_celery_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: str) -> None:
    """A pool is never larger than by CELERY_WORKER_CONCURRENCY=auto."""
    plant(tree, tmp_path)
    monkeypatch.setattr(sysinfo, "CGROUP_ROOT", str(tmp_path / "sys/fs/cgroup"))
    monkeypatch.setattr(sysinfo, "PROC_SELF_CGROUP", str(tmp_path / "proc/self/cgroup"))
    theirs = sysinfo.cgroup_cpu_quota() or 8
    ours = min(limit.value for limit in limits.read(tmp_path, cpus=8).cpus)
    assert ours < theirs if tree == "v1-unit-in-container" else ours == theirs


def test_this_process_has_limits() -> None:
    """The kernel that runs the tests is understood, too."""
    found = limits.share(limits.read(), "default", ALONE)
    assert 0 < found.cpus.value <= limits.cpu_count()
    assert 2**26 < found.memory.value < 2**50


def test_pools_share_what_they_share_by_weight(tmp_path: Path) -> None:
    """Three pools of one machine have its memory and CPUs once, not three times; each its own open files."""
    reading = limits.read(plant("v2-unlimited", tmp_path), cpus=8)
    shares = {"mail": 1.0, "reports": 1.0, "web": 2.0}
    parts = {pool: limits.share(reading, pool, shares) for pool in shares}
    assert {pool: part.cpus.value for pool, part in parts.items()} == {"mail": 2, "reports": 2, "web": 4}
    assert {pool: part.memory.value for pool, part in parts.items()} == {
        pool: 8039104 * 1024 * weight / 4 for pool, weight in shares.items()
    }
    assert parts["web"].files == parts["mail"].files


def test_a_unit_s_own_limit_is_shared_with_nobody(tmp_path: Path) -> None:
    """MemoryMax= of one pool is all its own; its slice's and the machine's are everybody's."""
    reading = limits.read(plant("v2-unit", tmp_path), cpus=8)
    two = limits.share(reading, "default", {"default": 1, "mail": 1})
    assert (two.memory.value, two.cpus.value) == (1536 * MIB, 1)
    eight = limits.share(reading, "default", {"default": 1, "mail": 7})
    assert eight.memory == limits.Limit(512 * MIB, "/sys/fs/cgroup/system.slice/memory.max, shared by 2 pools")


@given(total=st.integers(0, 200), weights=weights)
def test_whole_things_are_given_out_once(total: int, weights: dict[str, float]) -> None:
    """No CPU is counted twice while there is one for each pool, none is left over, and more are never fewer for one."""
    parts = limits.apportion(total, weights)
    assert sum(parts.values()) == max(total, len(weights))
    assert min(parts.values()) >= 1
    more = limits.apportion(total + 1, weights)
    assert all(more[name] >= part for name, part in parts.items())


@pytest.mark.parametrize(
    ("tree", "folder", "used", "idle"),
    [
        ("v2-docker", "sys/fs/cgroup", "memory.current", "inactive_file"),
        ("v1-docker", "sys/fs/cgroup/memory", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_memory_in_use_is_what_the_kernel_could_not_take_back(
    tmp_path: Path, tree: str, folder: str, used: str, idle: str
) -> None:
    """Of each limit; files that were read and are not in use do not count."""
    plant(tree, tmp_path)
    (tmp_path / folder / used).write_text(f"{200 * MIB}\n")
    (tmp_path / folder / "memory.stat").write_text(f"active_file 7\n{idle} {80 * MIB}\n")
    total = "MemTotal:       24684096 kB\nMemAvailable:   24000376 kB\n"
    (tmp_path / "proc/meminfo").write_text(total)
    machine, *groups = limits.memory_in_use(tmp_path)
    assert (machine.limit.value, machine.used) == (24684096 * 1024, (24684096 - 24000376) * 1024)
    assert {(use.limit.value, use.used) for use in groups} == {(256 * MIB, 120 * MIB)}
