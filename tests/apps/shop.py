"""An app with tasks that wait, compute, hold memory and fail."""

import hashlib
import os
import time

from celery import Celery

app = Celery("shop")


@app.task(name="shop.wait")
def wait(seconds):
    """Wait."""
    time.sleep(seconds)


@app.task(name="shop.burn")
def burn(seconds):
    """Use a CPU for as long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@app.task(name="shop.sign")
def sign(rounds):
    """Use a CPU without the interpreter's lock."""
    return hashlib.pbkdf2_hmac("sha256", b"key", b"salt", rounds).hex()


@app.task(name="shop.hold")
def hold(megabytes):
    """Have that much memory for a moment."""
    return len(bytearray(b"x") * megabytes * 2**20) > 0


@app.task(name="shop.fail")
def fail():
    """Fail."""
    raise ValueError("no such order")


@app.task(name="shop.die")
def die():
    """Take the process down."""
    os.kill(os.getpid(), 9)
