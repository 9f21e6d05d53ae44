"""The limits of a pool's processes: CPUs, memory and open files, as the kernel enforces them.

Celery reads CPU quotas, too (``celery.utils.sysinfo``). It misses the quota of a control group inside a container, such
as a unit's, because it does not look for the mount of the hierarchy.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from celerykit import instance, releases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

OWN_UNIT = f"{instance.named(instance.UMBRELLA)}@"
"""The prefix of the control group of a pool's unit: its limits hold for that pool alone."""


@dataclass(frozen=True)
class Limit:
    """An amount, and its source."""

    value: float
    source: str
    shared: bool = True
    """Whether the limit also holds for the other pools of this machine."""


@dataclass(frozen=True)
class Reading:
    """All limits of this process, shared ones included."""

    cpus: tuple[Limit, ...]
    memory: tuple[Limit, ...]
    """In bytes."""
    files: tuple[Limit, ...]


@dataclass(frozen=True)
class Limits:
    """The limits of one pool."""

    cpus: Limit
    memory: Limit
    files: Limit


@dataclass(frozen=True)
class Use:
    """The used part of a limit, by all processes within it."""

    limit: Limit
    used: float


@dataclass(frozen=True)
class Group:
    """A visible control group of this process, or an ancestor of one."""

    folder: Path
    place: str
    """The path of the folder in this process's file system."""
    name: str
    is_top: bool
    """Whether no ancestor is visible."""

    @property
    def shared(self) -> bool:
        """Whether the group may hold more than one pool."""
        return not any(part.startswith(OWN_UNIT) for part in Path(self.name).parts)


def read(root: Path = Path("/"), cpus: int | None = None) -> Reading:
    """Return the limits of this process.

    :param root: the folder that holds ``proc`` and ``sys``.
    :param cpus: the number of usable CPUs; the kernel's number if None.
    """
    groups = {kind: list(_groups(root, kind)) for kind in ("cgroup2", "cpu", "memory")}
    return Reading(
        cpus=(
            Limit(_usable_cpus() if cpus is None else cpus, "affinity"),
            *_limits(groups["cgroup2"], _quota_v2),
            *_limits(groups["cpu"], _quota_v1),
        ),
        memory=(*_host_memory(root), *_limits(groups["cgroup2"], _memory_v2), *_limits(groups["memory"], _memory_v1)),
        files=tuple(_open_files(root)),
    )


def memory_in_use(root: Path = Path("/")) -> Iterator[Use]:
    """Yield every memory limit of this process, with the bytes that the kernel cannot reclaim."""
    available = re.search(r"^MemAvailable: +(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    for limit in _host_memory(root):
        yield Use(limit, limit.value - int(available[1]) * 1024 if available else 0)
    for kind, bounds, file, idle in (
        ("cgroup2", _memory_v2, "memory.current", "inactive_file"),
        ("memory", _memory_v1, "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for group in _groups(root, kind):
            used, stat = _text(group.folder / file).strip(), _text(group.folder / "memory.stat")
            match = re.search(rf"^{idle} (\d+)$", stat, re.MULTILINE)
            for limit in _limits([group], bounds) if used else ():
                yield Use(limit, int(used) - (int(match[1]) if match else 0))


def share(reading: Reading, pool: str, weights: Mapping[str, float]) -> Limits:
    """Return the limits of one of the pools of a machine.

    :param weights: the weights of all pools of the machine, this one included, by name.
    """
    if len(weights) == 1:
        return Limits(
            *(_least(kind, lambda whole: whole, "") for kind in (reading.cpus, reading.memory, reading.files))
        )
    part = weights[pool] / sum(weights.values())
    among = f", shared by {len(weights)} pools"
    return Limits(
        _least(reading.cpus, lambda whole: apportion(math.ceil(whole), weights)[pool], among),
        _least(reading.memory, lambda whole: whole * part, among),
        _least(reading.files, lambda whole: whole, ""),  # a limit of each process
    )


def apportion(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Return each name's share of ``total`` whole units: at least one, and never fewer for a greater total.

    Each unit goes to the name with the greatest weight for its share so far.
    """
    parts = dict.fromkeys(sorted(weights), 1)
    for _ in range(total - len(parts)):
        parts[max(parts, key=lambda name: weights[name] / (parts[name] + 1))] += 1
    return parts


def _least(limits: Sequence[Limit], part: Callable[[float], float], among: str) -> Limit:
    mine = (Limit(part(limit.value), f"{limit.source}{among}") if limit.shared else limit for limit in limits)
    return min(mine, key=lambda limit: limit.value, default=Limit(math.inf, "no limit found"))


def _usable_cpus() -> int:
    return cpu_count()


def _host_memory(root: Path) -> Iterator[Limit]:
    if match := re.search(r"^MemTotal: +(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE):
        yield Limit(int(match[1]) * 1024, "memory of the machine")


def _open_files(root: Path) -> Iterator[Limit]:
    if match := re.search(r"^Max open files +(\d+)", _text(root / "proc/self/limits"), re.MULTILINE):
        yield Limit(int(match[1]), "ulimit -n")


def _groups(root: Path, kind: str) -> Iterator[Group]:
    """Yield this process's control group and its ancestors, in each mount of a hierarchy.

    :param kind: ``cgroup2``, or a controller of version 1.
    """
    paths = dict(_memberships(root))
    for line in _text(root / "proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        _, _, _, top, mount, *_ = fields.split(" ")
        fstype, _, options = rest.split(" ", 2)
        if kind not in paths or kind not in ({fstype} if fstype == "cgroup2" else set(options.split(","))):
            continue
        # In a container, the mount or its namespace begins at the container's own group.
        inside = (
            paths[kind].removeprefix(top.rstrip("/")) if f"{paths[kind]}/".startswith(f"{top.rstrip('/')}/") else ""
        )
        parts = [part for part in inside.split("/") if part not in {"", ".."}]
        for depth in range(len(parts), -1, -1):
            name = "/".join(["", *parts[:depth]])
            place = mount + name.rstrip("/")
            yield Group(root / place.lstrip("/"), place, f"{top.rstrip('/')}{name}", depth == 0)


def _memberships(root: Path) -> Iterator[tuple[str, str]]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        yield from ((controller, path) for controller in (controllers or "cgroup2").split(","))


def _limits(groups: Sequence[Group], of: Callable[[Group], Iterator[tuple[float, str]]]) -> Iterator[Limit]:
    for group in groups:
        for value, file in of(group):
            yield Limit(value, f"{group.place}/{file}", group.shared)


def _quota_v2(group: Group) -> Iterator[tuple[float, str]]:
    quota, _, period = _text(group.folder / "cpu.max").strip().partition(" ")
    yield from _quotient(quota, period, "cpu.max")


def _quota_v1(group: Group) -> Iterator[tuple[float, str]]:
    quota, period = (_text(group.folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    yield from _quotient(quota, period, "cpu.cfs_quota_us")


def _quotient(quota: str, period: str, file: str) -> Iterator[tuple[float, str]]:
    """Yield CPUs; ``max`` of version 2 and -1 of version 1 are no limit."""
    if quota.isdigit() and period.isdigit() and int(quota) and int(period):
        yield int(quota) / int(period), file


def _memory_v2(group: Group) -> Iterator[tuple[float, str]]:
    for file in ("memory.max", "memory.high"):  # beyond the latter, the kernel throttles processes to a standstill
        yield from _bytes(_text(group.folder / file), file)


def _memory_v1(group: Group) -> Iterator[tuple[float, str]]:
    """Yield bytes; a number beyond every machine's memory stands for no limit."""
    yield from _bytes(_text(group.folder / "memory.limit_in_bytes"), "memory.limit_in_bytes")
    if group.is_top:  # the kernel gives the least limit of the invisible ancestors here
        match = re.search(r"^hierarchical_memory_limit (\d+)$", _text(group.folder / "memory.stat"), re.MULTILINE)
        yield from _bytes(match[1] if match else "", "memory.stat")


def _bytes(text: str, file: str) -> Iterator[tuple[float, str]]:
    if text.strip().isdigit():
        yield int(text), file


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def auto_concurrency() -> int:
    """Return the concurrency that ``auto`` stands for: the CPUs within affinity and quota."""
    if not releases.lacks("auto"):
        from celery.utils.sysinfo import cpu_budget

        return int(cpu_budget().count)
    return max(1, min(math.ceil(limit.value) for limit in read().cpus))


def cpu_count() -> int:
    """Return the number of CPUs that this process may run on."""
    if releases.lacks("auto"):
        return len(os.sched_getaffinity(0)) or 1
    from celery.utils.sysinfo import available_cpu_count

    return int(available_cpu_count())
