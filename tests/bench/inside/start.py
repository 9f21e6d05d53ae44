"""Time the start of a worker, the kit's or Celery's own: ``python start.py kit prefork``.

Before each, how long an interpreter takes that only imports the app and what Celery's own worker has imported when it
consumes. Whatever else runs on the machine can but add to either, so the least of some counts.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = {"kit": "celerykit", "stock": "celery"}
"""Both read the same variables."""
IMPORT = """
import importlib, sys, time
for name in sys.stdin.read().split():
    importlib.import_module(name)
print(time.time())
"""
PATIENCE = 60.0
TIMES = 2


def main(side, pool):
    """Print the seconds from the start of the process until the worker consumes, and those of the imports."""
    with worker("stock", pool) as (_, imported):
        pass
    ready, imports = [], []
    for _ in range(TIMES):
        imports.append(timed_imports(imported))
        with worker(side, pool) as (seconds, _):
            ready.append(seconds)
    print(json.dumps({"ready": min(ready), "imports": min(imports)}))


@contextmanager
def worker(side, pool):
    """Have a worker, with the seconds that it took to be ready and the modules that it has imported by then."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder, "ready")
        told = {"CELERY_WORKER_POOL": pool, "CELERY_WORKER_CONCURRENCY": "2", "BENCH_READY": str(note)}
        began = time.time()
        process = subprocess.Popen([PROGRAMS[side], "worker"], env={**os.environ, **told}, stdout=sys.stderr)
        try:
            while not (note.exists() and note.read_text().endswith("\n")):
                assert process.poll() is None and time.time() < began + PATIENCE, "the worker is not ready"
                time.sleep(0.01)
            at, *imported = note.read_text().split()
            yield float(at) - began, imported
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def timed_imports(modules):
    """Return the seconds from the start of an interpreter until it has these modules."""
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], input="\n".join(modules), stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout) - began


if __name__ == "__main__":
    main(*sys.argv[1:])
