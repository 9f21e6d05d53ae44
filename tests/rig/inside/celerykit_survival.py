"""The jobs of the survival tests; each line of the ledger is written by the process that runs the job.

Mounted into the containers and included by the apps there, those of users too: hence its name, which no app has.
"""

import ctypes
import mmap
import os
import signal
import socket
import time

from celery import shared_task, signals

FOLDER = "/ledger"
SLOWLY = 60
"""Seconds, the hard time limit of jobs on a slow machine."""


@signals.worker_init.connect
def be_patient(sender, **_):
    """Let no job end for the machine's slowness; a test that is about the limit names a longest job of its own.

    What rig and hosts name is short for what follows from it, such as the visibility timeout. Only a worker knows the
    other limit: `celerykit check` would rightly say that such jobs may run twice.
    """
    if os.environ.get("CELERYKIT_LONGEST_JOB") in {"5", "10"}:
        for name, task in sender.app.tasks.items():
            if name.startswith("jobs."):
                task.time_limit = SLOWLY


def note(folder: str, kind: str, job: str) -> None:
    """Append a line and see it on disk; one write call each, so that processes share the file."""
    line = f"{kind} {job} {os.getpid()} {socket.gethostname()} {time.time():.6f}\n"
    descriptor = os.open(f"{folder}/ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def starts_of(job):
    """Count earlier starts of a job in the ledger, this one included."""
    with open(f"{FOLDER}/ledger") as lines:
        return sum(line.startswith(f"start {job} ") for line in lines)


@shared_task(bind=True, name="jobs.work")
def work(self, seconds):
    """Wait, as most jobs do."""
    note(FOLDER, "start", self.request.id)
    time.sleep(seconds)
    note(FOLDER, "done", self.request.id)


@shared_task(bind=True, name="jobs.hold_interpreter")
def hold_interpreter(self, seconds):
    """Wait in C and keep Python's lock, as a regular expression does that backtracks."""
    note(FOLDER, "start", self.request.id)
    ctypes.PyDLL(None).sleep(seconds)
    note(FOLDER, "done", self.request.id)


@shared_task(bind=True, name="jobs.wait_in_c")
def wait_in_c(self, seconds):
    """Wait in C, as a database's driver does, which nobody can patch."""
    note(FOLDER, "start", self.request.id)
    ctypes.CDLL(None).sleep(seconds)
    note(FOLDER, "done", self.request.id)


@shared_task(bind=True, name="jobs.kill_child")
def kill_child(self):
    """Kill the process that runs it, each time."""
    note(FOLDER, "start", self.request.id)
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(bind=True, name="jobs.end_process")
def end_process(self):
    """End the worker itself, in a pool of threads: none of its own is left to tell."""
    note(FOLDER, "start", self.request.id)
    os._exit(1)


@shared_task(bind=True, name="jobs.eat")
def eat(self, megabytes):
    """Take more memory than there is, at the first try."""
    note(FOLDER, "start", self.request.id)
    if starts_of(self.request.id) == 1:
        hoard = [bytearray(os.urandom(1024) * 1024) for _ in range(megabytes)]
        time.sleep(len(hoard))
    note(FOLDER, "done", self.request.id)


@shared_task(bind=True, name="jobs.burn")
def burn(self, seconds):
    """Use a CPU for as long."""
    note(FOLDER, "start", self.request.id)
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    note(FOLDER, "done", self.request.id)


@shared_task(bind=True, name="jobs.hold")
def hold(self, megabytes, seconds=0.1):
    """Have that much memory for a while."""
    note(FOLDER, "start", self.request.id)
    hoard = bytearray(os.urandom(1024)) * (1024 * megabytes)  # at once: a copy would be as much again
    time.sleep(seconds)
    del hoard
    note(FOLDER, "done", self.request.id)


@shared_task(name="jobs.write")
def write(path):
    """Write a file, as a job with a folder of its own does."""
    with open(path, "w") as file:
        file.write("written")


@shared_task(name="jobs.make_code")
def make_code():
    """Take memory that can be written and run, as a compiler at run time does."""
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


@shared_task(name="jobs.tick")
def tick(name):
    """Be a periodic job: the ledger's job name is the schedule's entry."""
    note(FOLDER, "start", name)
    note(FOLDER, "done", name)


@shared_task(bind=True, name="jobs.bound")
def bound(self):
    """Return the delivery attributes that Celery has bound to this task."""
    return {"acks_late": self.acks_late, "reject_on_worker_lost": self.reject_on_worker_lost}
