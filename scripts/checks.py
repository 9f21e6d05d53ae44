"""The checks that need no container, and the tests that do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import stack
import testhosts
from console import SetupError, say
from parts import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

BIN = Path(".venv/bin")
SHELL = (
    "images/with-ca",
    "init.d/celeryd",
    "init.d/celerybeat",
    "init.d/celery-flower",
    "images/redis/redis-health",
    "images/redis/redis-snapshot",
    "images/redis/redis-start",
    "images/rabbitmq/rabbitmq-health",
    "images/testservers/mariadb",
    "images/postgresql/postgresql-health",
    "images/postgresql/postgresql-start",
    ".ci/run",
)
LINT_ROLES = ("ansible-lint", "-q", "site.yml", "playbooks", "roles", "galaxy.yml")
CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("yamllint", "--strict", "."),
    ("shellcheck", *SHELL),
    # Ansible runs on these releases of Python only.
    *((LINT_ROLES,) if sys.version_info >= (3, 11) else ()),
)
WITHOUT_CONTAINER = ("tests/unit", "tests/static", "--numprocesses", "auto")
SECONDS_WITHOUT_CONTAINER = 600.0
"""Ten times their usual duration: a hanging test is reported before CI's own time limit."""
# Each process of the tests has a machine. Its first test deploys it, over 10 minutes at a load of 20. A hanging test
# must leave time for all others.
ON_HOSTS = ("pytest", "tests/hosts", "--numprocesses", "2", "--dist", "loadgroup", "--timeout", "900")
ON_EVERY_HOST = {"CELERYKIT_TEST_SUITES": " ".join(testhosts.KINDS)}
QUICK = ("-m", "not slow", "--durations", "25", "--durations-min", "5")
# A run on an empty machine, in check mode and without, and a second run.
SITE_ONCE = ("pytest", "tests/hosts/test_site.py", "-k", "empty_machine or second_run")
# Most of a test in containers is waiting, so several share a core.
SERVERS, OLDEST_SERVER = ("redis-8", "redis-7", "valkey-8"), "redis-6.2"
OTHERS = tuple(f"tests/brokers/test_{name}.py" for name in ("others", "backends", "speed"))
"""Tests on brokers and result backends that are not the kit's own; the test of speed runs by itself."""
SLOW_ON_OURS = ("-m", "slow", "tests/containers", "tests/brokers", *(f"--ignore={file}" for file in OTHERS))
IN_CONTAINERS = ("pytest", "--numprocesses", "5", "--dist", "loadgroup")


def check() -> None:
    """Run every check, even after one has failed.

    :raises SetupError: naming those that failed.
    """
    failed = [command[0] for command in CHECKS if not _passes(command)]
    if _part("check", WITHOUT_CONTAINER).run(SECONDS_WITHOUT_CONTAINER).code != 0:
        failed.append("pytest")
    if failed:
        raise SetupError(f"failed: {', '.join(failed)}", "See above; 'ruff format' and 'ruff check --fix' mend much")


def in_containers() -> Part:
    """Return the tests that start containers; only those of an app, if an app is named."""
    app = os.environ.get("CELERYKIT_TEST_APP")
    folders = ("tests/install", "tests/transport", "tests/containers", "tests/brokers", "tests/releases")
    tests = ("tests/containers/test_your_app.py",) if app else folders
    return _part("containers", (*IN_CONTAINERS[1:], *tests))


def on_hosts() -> Part:
    """Return the tests of the playbook and the verbs, on a host of each release of Debian and each init system."""
    return _part("hosts", ON_HOSTS[1:], ON_EVERY_HOST)


def _part(name: str, spread: tuple[str, ...], also: Mapping[str, str] | None = None) -> Part:
    return Part(name, str(BIN / "pytest"), QUICK, spread, {**_environment(), **(also or {})})


def test_on_servers(*, oldest: bool) -> None:
    """Run the tests of the transport on every available server.

    :param oldest: whether Redis 6.2 is available.
    :raises SetupError: if one fails.
    """
    names = (*SERVERS, OLDEST_SERVER) if oldest else SERVERS
    servers = {"CELERYKIT_TEST_SERVERS": " ".join(names)}
    if not oldest:
        say("there is no Redis 6.2 for this processor: it is left out")
    if not _passes((*IN_CONTAINERS, "tests/transport"), servers):
        raise SetupError("failed: pytest tests/transport", "See above: its name has the server's")


def test_on_brokers() -> None:
    """Run the tests on every broker and result backend, and the slow ones on the kit's own; record their results.

    :raises SetupError: if one fails.
    """
    keep = ("-p", "tests.brokers.recording")
    passed = [
        _passes((*IN_CONTAINERS, *keep, *OTHERS[:2])),
        _passes(("pytest", *keep, OTHERS[2])),
        _passes((*IN_CONTAINERS, *SLOW_ON_OURS)),
    ]
    _passes(("python", "scripts/brokers_doc.py", "--write"))
    if not all(passed):
        raise SetupError("failed: pytest tests/brokers", "See above; the log of each container is beside its failure")


def test_on_releases() -> None:
    """Run the unit tests and those of the transport on each release of Celery, then restarts and kills under load.

    :raises SetupError: if one fails.
    """
    made = subprocess.run(
        [BIN / "python", "-m", "tests.releases.environments"],
        check=False,
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    if made.returncode:
        raise SetupError("the virtualenvs of the releases cannot be made", "Check the network; see above")
    folders = ("tests/unit", "tests/transport")
    passed = [_passes((python, "-m", *IN_CONTAINERS, *folders)) for python in made.stdout.split()]
    passed.append(_passes(("pytest", "--numprocesses", "2", "--dist", "loadgroup", "tests/releases")))
    if not all(passed):
        raise SetupError("failed: tests by a release of Celery", "See above: the interpreter's folder has its name")


def test_by_kombu(tests: Path) -> None:
    """Run Kombu's own tests of its transport with the kit's classes in its place.

    :raises SetupError: if one fails.
    """
    # Kombu's settings of pytest are independent of ours.
    command = ("pytest", "--rootdir", str(tests), "--override-ini", "addopts=--disable-warnings")
    swapped = ("-p", "tests.transport.swapped", str(tests / "t/unit/transport/test_redis.py"))
    if not _passes((*command, *swapped), {"PYTHONPATH": "."}):
        raise SetupError("failed: Kombu's own tests", "See above")


def test_on_hosts() -> None:
    """Run every test on hosts, the slow ones, too.

    :raises SetupError: if one fails.
    """
    if not _passes(ON_HOSTS, ON_EVERY_HOST):
        raise SetupError("failed: pytest tests/hosts", "See above; the journal is beside its failure")


def test_site_once(ansible: Path, suite: str) -> None:
    """Run the playbook by another Ansible on one host.

    :raises SetupError: if it fails.
    """
    if not _passes(SITE_ONCE, {"CELERYKIT_TEST_ANSIBLE": str(ansible), "CELERYKIT_TEST_SUITES": suite}):
        raise SetupError(f"failed: pytest tests/hosts/test_site.py by {ansible}", "See above")


def run_module(name: str) -> int:
    """Run a module such as the demonstration, and return its exit code."""
    return subprocess.run([BIN / "python", "-m", name], check=False, env=_environment()).returncode


def _passes(command: tuple[str, ...], also: Mapping[str, str] | None = None) -> bool:
    began = time.monotonic()
    environment = {**_environment(), **(also or {})}
    done = subprocess.run([BIN / command[0], *command[1:]], check=False, env=environment)
    say(f"[{time.monotonic() - began:6.1f} s] {'ok' if done.returncode == 0 else 'failed'}: {' '.join(command)}")
    return done.returncode == 0


def _environment() -> dict[str, str]:
    """Return the environment of calls of Compose, with the virtualenv's programs first; drop an empty APP."""
    environment = {**stack.environment(), "PATH": f"{BIN.resolve()}{os.pathsep}{os.environ['PATH']}"}
    if not environment.get("CELERYKIT_TEST_APP"):
        environment.pop("CELERYKIT_TEST_APP", None)
    return environment
