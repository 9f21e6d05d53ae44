"""Print what a container tells of its limits, as one text for this folder.

docker run --rm --interactive --cpus 0.5 --memory 256m --entrypoint python3 celerykit/celery - < record.py > TREE.txt
"""

from pathlib import Path

PROC = {"meminfo": "MemTotal", "self/cgroup": "", "self/limits": "Max open files", "self/mountinfo": "cgroup"}
GROUPS = {
    "cpu.max": "",
    "cpu.cfs_quota_us": "",
    "cpu.cfs_period_us": "",
    "memory.max": "",
    "memory.high": "",
    "memory.limit_in_bytes": "",
    "memory.stat": "hierarchical_memory_limit",
}
"""The lines that count of each file."""

found = {Path("/proc") / name: kept for name, kept in PROC.items()}
for name, kept in GROUPS.items():
    found |= dict.fromkeys(sorted(Path("/sys/fs/cgroup").rglob(name)), kept)
for path, kept in found.items():
    print(f"== {path}")
    print("\n".join(line.rstrip() for line in path.read_text().splitlines() if kept in line))
