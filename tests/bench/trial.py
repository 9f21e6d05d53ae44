"""A trial: one contender with the jobs of one workload, from an empty broker to numbers."""

from __future__ import annotations

import json
import re
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kombu import Connection

from celerykit.brokers.rabbitmq_definitions import VHOST
from tests.rig.containers import Rig
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.bench.rivals import Contender
    from tests.rig.process import Process

LOADS = Path(__file__).parent / "loads"
MEMORY = "1g"
"""What every container with a worker may use: a pool that needs more is no setting to choose."""
WARM_UP = 1.0
WINDOW = 4.0
"""Seconds over which a rate is taken."""
PATIENCE = 60.0
"""Seconds after which a job that was sent at a pace and not done is lost."""
PROBES, PACED, BACKLOG = 0, 1_000_000, 2_000_000
"""Where the numbers of jobs begin: those that show that a worker works, those that come at a pace, those that wait."""
SAMPLER = """
while :; do
  files=
  for folder in /proc/[0-9]*; do test "$folder" = "/proc/$$" || files="$files $folder/smaps_rollup"; done
  cat $files 2>/dev/null | awk '/^Pss:/ {sum += $2} END {print sum + 0}'
  sleep 1
done
"""
"""Run in the container's own process namespace and outside its control group, whose CPU time it would use otherwise."""
NO_CHECK = {"test": ["NONE"]}
"""The kit's image looks every 10 s whether a worker is ready: nothing that stock Celery would have to pay for."""
KILLS = "cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null; true"


@dataclass(frozen=True)
class Note:
    """What a job has written down; seconds since the epoch."""

    load: str
    number: int
    sent: float
    began: float
    ended: float


class Stage:
    """A broker with two vhosts or users, one as the kit has it and one for all others, and a folder for notes."""

    def __init__(self, rig: Rig, broker: str):
        self.rig = rig
        self.broker = broker
        self._senders: dict[str, Process] = {}
        self._trials = 0
        if broker == "rabbitmq":
            server = rig.rabbitmq()
            for told in ("add_vhost stock", "set_permissions -p stock worker '.*' '.*' '.*'"):
                server.sh(f"rabbitmqctl --quiet {told}")
        else:
            rig.redis(users=f"user bench on >{rig.password} ~* &* +@all\n")

    @classmethod
    @contextmanager
    def of(cls, broker: str) -> Iterator[Stage]:
        """Set it up, and remove all of it afterwards."""
        with Rig.in_memory() as rig:
            rig.app = str(LOADS)
            yield cls(rig, broker)

    def url(self, contender: Contender, *, sender: bool = False) -> str:
        """Return the broker's URL for a contender, or for who sends it its jobs."""
        if self.broker == "rabbitmq":
            vhost = "stock" if contender.foreign else VHOST
            return f"{self.rig.broker_url.rpartition('/')[0]}/{vhost}"
        own = contender.library == "celery" and not sender
        return self.rig.broker_url if own else self.rig.broker_url.replace("//celery:", "//bench:")

    @contextmanager
    def trial(self, contender: Contender, **options: Any) -> Iterator[Trial]:
        """Start a contender on an empty broker, and remove it afterwards."""
        self._empty()
        self._trials += 1
        trial = Trial(self, contender, f"notes-{self._trials}", {"mem_limit": MEMORY, **options})
        try:
            yield trial
        finally:
            trial.remove()

    def send(self, contender: Contender, *batches: dict[str, Any]) -> None:
        """Send jobs to a contender."""
        key = self.url(contender, sender=True) + contender.library
        if key not in self._senders:
            told = {"BENCH_BROKER_URL": self.url(contender, sender=True), "BENCH_NOTES": "/dev/null"}
            self._senders[key] = self.run(contender, ["sleep"], ["infinity"], told)
        command = ["python", "/app/send.py", contender.library, json.dumps(batches)]
        code, output = self._senders[key].container.exec_run(command)
        assert code == 0, f"send.py ended with {code}: {output.decode(errors='replace')}"

    def run(
        self,
        contender: Contender,
        entrypoint: Sequence[str],
        command: Sequence[str],
        told: Mapping[str, str],
        kept: Mapping[str, Mapping[str, str]] | None = None,
        **more: Any,
    ) -> Process:
        """Start a container of a contender's image with the workloads in it."""
        volumes = {str(LOADS): {"bind": "/app", "mode": "ro"}, str(self.rig.ledger.folder): {"bind": "/ledger"}}
        return self.rig.run(
            contender.image,
            entrypoint=list(entrypoint),
            command=list(command),
            environment={"PYTHONPATH": "/app", "PYTHONDONTWRITEBYTECODE": "1", **told},
            volumes={**volumes, **(kept or {})},
            healthcheck=NO_CHECK,
            **more,
        )

    def _empty(self) -> None:
        if self.broker == "redis":
            url = self.rig.client.app.conf.broker_url.replace("//celery:", "//bench:")
            with Connection(url) as connection:
                connection.default_channel.client.flushall()
            return
        server = self.rig.client.url.replace("//producer:", "//worker:").rpartition("/")[0]
        with Connection(f"{server}/{VHOST}") as connection:
            connection.default_channel.queue_purge("celery")
        with Connection(f"{server}/stock") as connection:
            for queue in ("celery", "default"):
                connection.default_channel.queue_delete(queue)
            # As a worker would, if it were sent nothing before it has.
            connection.default_channel.queue_declare("celery", durable=True, auto_delete=False)


class Trial:
    """One contender at work."""

    def __init__(self, stage: Stage, contender: Contender, notes: str, options: dict[str, Any]):
        self.stage = stage
        self.contender = contender
        self._waiting = 0
        self._notes = stage.rig.ledger.folder / notes
        self._options = options
        self._start()

    def _start(self) -> None:
        stage, contender = self.stage, self.contender
        told = {
            "CELERY_APP": "on_celery",
            "CELERY_BROKER_URL": stage.url(contender),
            "BENCH_BROKER_URL": stage.url(contender),
            "BENCH_NOTES": f"/ledger/{self._notes.name}",
            **contender.environment,
        }
        kept = self._kept() if contender.learns else {}
        self.process = stage.run(contender, contender.entrypoint, contender.command, told, kept, **self._options)
        self._sampler = stage.rig.run(
            contender.image,
            entrypoint=["sh", "-c", SAMPLER],
            pid_mode=f"container:{self.process.container.id}",
            healthcheck=NO_CHECK,
        )

    def _kept(self) -> dict[str, dict[str, str]]:
        """Return the volume with what this contender learns, which outlives its containers."""
        folder = self.stage.rig.ledger.folder / re.sub(r"\W+", "-", self.contender.name)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        return {str(folder): {"bind": "/var/lib/celery"}}

    def wait_ready(self) -> None:
        """Wait until it has done a job."""
        self.send("noop", PROBES, 1)
        until(lambda: self.notes(PROBES), 60, lambda: f"a job done; log:\n{self.process.logs[-4000:]}", pause=0.05)

    def send(self, load: str, first: int, count: int, **batch: float) -> None:
        """Send so many jobs."""
        self.stage.send(self.contender, {"load": load, "first": first, "count": count, **batch})

    def notes(self, first: int) -> list[Note]:
        """Return what the jobs have noted whose numbers begin there."""
        text = self._notes.read_text() if self._notes.exists() else ""
        # The last line may be just being written.
        noted = (line.split() for line in text[: text.rfind("\n") + 1].splitlines())
        made = (Note(load, int(number), *map(float, times)) for load, number, *times in noted)
        return [note for note in made if first <= note.number < first + PACED]

    def waits(self, load: str, count: int, rate: float) -> dict[str, float]:
        """Return how long jobs wait for their start if so many come a second, and how many are lost."""
        self.send(load, PACED, count, rate=rate)
        ends = time.monotonic() + PATIENCE
        while len({note.number for note in self.notes(PACED)}) < count and time.monotonic() < ends:
            time.sleep(0.1)
        notes = self.notes(PACED)
        assert len(notes) > 1, f"no jobs done; log:\n{self.process.logs[-4000:]}"
        cuts = statistics.quantiles([(note.began - note.sent) * 1000 for note in notes], n=100)
        lost = count - len({note.number for note in notes})
        return {"wait p50 ms": cuts[49], "wait p99 ms": cuts[98], "lost": lost}

    def fill(self, load: str, count: int, first: int = BACKLOG) -> None:
        """Let so many jobs wait, which the contender sees once all are there."""
        self._waiting += count
        self.process.container.pause()
        try:
            self.send(load, first, count)
        finally:
            self.process.container.unpause()

    def window(self, seconds: float) -> dict[str, float]:
        """Return the rate, and what a job costs, over some seconds of a backlog."""
        before, began = self.cpu_seconds(), time.time()
        time.sleep(seconds)
        cost, ended = self.cpu_seconds() - before, time.time()
        noted = self.notes(BACKLOG)
        assert len(noted) < self._waiting, "the backlog was too small for this machine"
        done = [note for note in noted if began <= note.ended < ended]
        each = cost * 1000 / len(done) if done else 0.0
        return {"jobs/s": len(done) / (ended - began), "CPU ms/job": each, "PSS MB": self.peak()}

    def cpu_seconds(self) -> float:
        """Return the CPU time that all processes of its container have used."""
        told = self.stage.rig.docker.api.stats(self.process.container.id, stream=False, one_shot=True)
        return float(told["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9

    def peak(self) -> float:
        """Return the most memory that its processes have had together, in MB; pages that several share count once."""
        samples = [int(line) for line in self._sampler.logs.splitlines() if line.isdigit()]
        return max(samples, default=0) / 1024

    def kills(self) -> int:
        """Return how many processes of the container the kernel has killed for want of memory."""
        state = self.process.state
        if not state["Running"]:
            return 1
        found = re.findall(r"^oom_kill (\d+)", self.process.sh(KILLS), re.MULTILINE)
        return max(map(int, found), default=0)

    def chosen(self) -> str:
        """Return the size that each worker of the kit has said at its start, nothing of others."""
        said = re.findall(r" pool=(\w+) concurrency=(\d+) .*? prefetch=(\d+) ", self.process.logs)
        several = f"{len(said)} x " if len(said) > 1 else ""
        return several + "{} {}, prefetch {}".format(*said[0]) if said else ""

    def stop(self) -> None:
        """Let it end by itself, as at a deployment: what it has learnt is kept."""
        self.process.stop(60)

    def is_advised(self) -> bool:
        """Say whether a worker of the kit has said in its log that another start would serve its jobs better."""
        return "(see celerykit tune)" in self.process.logs

    def restart(self) -> None:
        """Let it end by itself, and start it anew with the jobs that are left."""
        self.stop()
        self.remove()
        self._start()

    def remove(self) -> None:
        """Remove its containers."""
        for process in (self._sampler, self.process):
            process.container.remove(force=True, v=True)
            self.stage.rig.processes.remove(process)
