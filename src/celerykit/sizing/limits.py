"""What the processes of a pool may use: CPUs, memory and open files, as the kernel enforces them.

Celery has a reader of CPU quotas, too (``celery.utils.sysinfo``); it misses that of a control group inside a container,
such as a unit's, because it does not ask where the hierarchy is mounted.
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

OWN_UNIT = f"{instance.named('celeryd')}@"
"""What the control group of one pool's unit begins with: nobody else lives within its limits."""


@dataclass(frozen=True)
class Limit:
    """How much there is of something, and who says so."""

    value: float
    source: str
    shared: bool = True
    """Whether the other pools of this machine live within the same limit."""


@dataclass(frozen=True)
class Reading:
    """Every limit that holds for this process, whoever shares it."""

    cpus: tuple[Limit, ...]
    memory: tuple[Limit, ...]
    """In bytes."""
    files: tuple[Limit, ...]


@dataclass(frozen=True)
class Limits:
    """What one pool may use."""

    cpus: Limit
    memory: Limit
    files: Limit


@dataclass(frozen=True)
class Use:
    """How much of a limit is used, by everybody who lives within it."""

    limit: Limit
    used: float


@dataclass(frozen=True)
class Group:
    """A control group that this process is in, or an ancestor of one, as far as it can be seen."""

    folder: Path
    place: str
    """The folder as this process sees it."""
    name: str
    is_top: bool
    """Whether its ancestors, if it has any, are out of sight."""

    @property
    def shared(self) -> bool:
        """Whether it may hold more than one pool."""
        return not any(part.startswith(OWN_UNIT) for part in Path(self.name).parts)


def read(root: Path = Path("/"), cpus: int | None = None) -> Reading:
    """Return the limits of this process.

    :param root: where ``/proc`` and ``/sys`` are found.
    :param cpus: how many CPUs it may run on; asked of the kernel if it is not given.
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
    """Yield every limit of memory that holds for this process, with the bytes that the kernel could not take back."""
    available = re.search(r"^MemAvailable: +(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    for limit in _host_memory(root):
        yield Use(limit, limit.value - int(available[1]) * 1024 if available else 0)
    for kind, bounds, file, idle in (
        ("cgroup2", _memory_v2, "memory.current", "inactive_file"),
        ("memory", _memory_v1, "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for group in _groups(root, kind):
            used, stat = _text(group.folder / file).strip(), _text(group.folder / "memory.stat")
            found = re.search(rf"^{idle} (\d+)$", stat, re.MULTILINE)
            for limit in _limits([group], bounds) if used else ():
                yield Use(limit, int(used) - (int(found[1]) if found else 0))


def share(reading: Reading, pool: str, weights: Mapping[str, float]) -> Limits:
    """Return what one of the pools that share a machine may use.

    :param weights: of all its pools, this one included, by name.
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
        _least(reading.files, lambda whole: whole, ""),  # which each process has for itself
    )


def apportion(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Return how many of ``total`` whole things each name gets: at least one, and never fewer of a greater total.

    They are given out one by one, each to whom it brings nearest to its weight.
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
    if found := re.search(r"^MemTotal: +(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE):
        yield Limit(int(found[1]) * 1024, "memory of the machine")


def _open_files(root: Path) -> Iterator[Limit]:
    if found := re.search(r"^Max open files +(\d+)", _text(root / "proc/self/limits"), re.MULTILINE):
        yield Limit(int(found[1]), "ulimit -n")


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
        # Seen from a container, the mount begins at the container's own group, or is of a namespace that does.
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
    for file in ("memory.max", "memory.high"):  # beyond the latter, processes are slowed down until they stand still
        yield from _bytes(_text(group.folder / file), file)


def _memory_v1(group: Group) -> Iterator[tuple[float, str]]:
    """Yield bytes; what stands for no limit is a number beyond every machine's memory."""
    yield from _bytes(_text(group.folder / "memory.limit_in_bytes"), "memory.limit_in_bytes")
    if group.is_top:  # the kernel has the least limit of those out of sight
        found = re.search(r"^hierarchical_memory_limit (\d+)$", _text(group.folder / "memory.stat"), re.MULTILINE)
        yield from _bytes(found[1] if found else "", "memory.stat")


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
