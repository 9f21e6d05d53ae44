"""Start many workers in one container: ``python fleet.py 50``.

They are forked from one process that has imported what all need, so that the machine holds it once, and that they start
within seconds. Each is what ``celerykit worker`` starts.
"""

import importlib
import os
import sys

from celerykit.cli import main

SHARED = ("celery.bin.celery", "celery.bin.worker", "celery.worker.consumer", "kombu.transport.redis")

if __name__ == "__main__":
    for name in SHARED:
        importlib.import_module(name)
    for number in range(int(sys.argv[1])):
        if os.fork() == 0:
            sys.exit(main(["worker", f"pool{number}"]))
    while True:
        os.wait()
