"""The releases of Celery, Kombu and redis-py that are tried, each in a virtualenv of its own."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".cache/releases"
UV = Path(sys.executable).with_name("uv")
NEWEST, MIDDLE, MIDDLE_STOCK, OLDEST = "celery-5.7", "celery-5.6-kombu-5.7", "celery-5.6", "celery-5.5"
RELEASES = {
    NEWEST: ("celery[redis]==5.7.0", "kombu==5.7.0", "redis==8.1.0"),
    MIDDLE: ("celery[redis]==5.6.3", "kombu==5.7.0", "redis==6.4.0"),
    MIDDLE_STOCK: ("celery[redis]==5.6.3", "kombu==5.6.2", "redis==6.4.0"),
    OLDEST: ("celery[redis]==5.5.3", "kombu==5.5.4", "redis==5.2.1"),
}
"""The requirements of each."""
NEEDED = ("gevent>=25.4",)
"""A pool, beside what the kit needs."""
TESTS = (
    *("pytest>=8.4,<9", "pytest-timeout>=2.4", "pytest-xdist>=3.8", "pytest-testinfra>=10.2", "hypothesis>=6.140"),
    *("docker>=7.1", "trustme>=1.2", "prometheus-client>=0.20", "kombu[pgmq]"),
    *("cryptography>=43", "django>=5.2", "flower>=2.1", "psycopg[binary]>=3.2", "sqlalchemy>=2.0", "setuptools"),
)
"""What the kit's own tests need."""


def python_of(release: str, also: tuple[str, ...] = ()) -> Path:
    """Return the interpreter of a release's virtualenv, which is made if it is not there.

    :param also: what is installed beside what the kit needs.
    """
    wanted = (*RELEASES[release], *NEEDED, *also)
    mark = hashlib.sha256(" ".join((sys.version, *wanted)).encode()).hexdigest()[:12]
    python = FOLDER / f"{release}-{mark}" / "bin/python"
    stamp = python.parent / "complete"
    folder = python.parents[1]
    with _alone(folder):
        if stamp.exists():
            return python
        subprocess.run([UV, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run([UV, "pip", "install", "--quiet", "--python", python, *wanted], check=True)
        if also:  # the tests start the kit from other folders, too
            subprocess.run([UV, "pip", "install", "--quiet", "--python", python, "--no-deps", "-e", ROOT], check=True)
        stamp.touch()
    return python


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes of the tests from making the same virtualenv meanwhile."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    for _release in RELEASES:
        python_of(_release)
        print(python_of(_release, TESTS))
