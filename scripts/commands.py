"""The commands of the Makefile, each a list of steps."""

from __future__ import annotations

import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import checks
import cleanup
import debian
import dist
import host
import machines
import oldest
import pages
import plugins
import rivals
import sizes
import stack
import testhosts
import testservers
import upstream
import virtualenv
from console import SetupError, say
from verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOM_FOR_IMAGES = 3.0
"""GiB for the images and the cache of their build."""
OLDEST_FOR_ANSIBLE = (3, 11)
MINUTES_FOR_TESTS = 85
"""CI has 90, and must still list the failed tests. CELERYKIT_TEST_MINUTES overrides this."""


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"usage: python3 scripts {{{' | '.join(COMMANDS)}}}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[arguments[0]]() or 0
    except SetupError as exc:
        print(f"error: {exc}\nremedy: {exc.remedy}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on where this one stopped", file=sys.stderr)
        return 130


def _prepare() -> None:
    host.require_engine()
    host.require_disk(ROOM_FOR_IMAGES)
    debian.ensure_image()
    plugins.ensure_plugins()


def _up() -> None:
    began = time.monotonic()
    _prepare()
    stack.require_own()
    stack.warn_of_override()
    stack.require_port()
    stack.build()
    stack.open_example()
    stack.start()
    stack.run_example()
    say(f"[{time.monotonic() - began:6.1f} s] in all")
    stack.explain()


def _in_containers(module: str) -> int:
    """Build the images and the virtualenv, then run a module of the tests."""
    _prepare()
    virtualenv.ensure_virtualenv()
    stack.build()
    return checks.run_module(module)


def _bench() -> int:
    _prepare()
    virtualenv.ensure_virtualenv()
    stack.build()
    stack.build_rabbitmq()
    rivals.build()
    return checks.run_module("tests.bench")


def _test() -> int:
    """Run the tests of every part, even after a failed one; only the tests of an app, if an app is named."""
    host.require_engine()
    verdict = Verdict(_minutes_for_tests() * 60)
    if os.environ.get("CELERYKIT_TEST_APP"):
        verdict.attempt(lambda: _test_in_containers(verdict, _build_for_app))
        return verdict.end()
    virtualenv.ensure_virtualenv()
    # A build waits for the network and the disk, and tests wait for each other: each is built while others are tested.
    with ThreadPoolExecutor(max_workers=1) as builds:
        images = builds.submit(_build_for_tests)
        hosts = builds.submit(_prepare_hosts)
        verdict.attempt(_check)
        verdict.attempt(lambda: _test_in_containers(verdict, images.result))
        verdict.attempt(lambda: _test_on_hosts(verdict, hosts.result))
    return verdict.end()


def _minutes_for_tests() -> float:
    minutes = os.environ.get("CELERYKIT_TEST_MINUTES") or MINUTES_FOR_TESTS
    try:
        return float(minutes)
    except ValueError as exc:
        raise SetupError(f"CELERYKIT_TEST_MINUTES={minutes} is no number", "Name minutes, or unset it") from exc


def _test_in_containers(verdict: Verdict, build: Callable[[], None]) -> None:
    build()
    verdict.run(checks.in_containers())


def _test_on_hosts(verdict: Verdict, build: Callable[[], None]) -> None:
    build()
    verdict.run(checks.on_hosts())


def _build_for_app() -> None:
    _prepare()
    virtualenv.ensure_virtualenv()
    stack.build()


def _build_for_tests() -> None:
    _build_for_app()
    _build_other_redis()
    stack.build_rabbitmq()
    stack.build_postgresql()
    stack.build_allinone()
    testservers.build("memcached")


def _build_other_redis() -> None:
    for suite in debian.SUITES:
        debian.ensure_image(suite)
    stack.build_other_redis()


def _brokers() -> None:
    _prepare()
    virtualenv.ensure_virtualenv()
    stack.build()
    stack.build_rabbitmq()
    for target in ("memcached", "all"):
        testservers.build(target)
    _build_other_redis()
    checks.test_on_brokers()
    checks.test_on_servers(oldest=oldest.ensure_redis() is not None)
    checks.test_by_kombu(upstream.ensure_tests())


def _test_celery() -> None:
    _prepare()
    virtualenv.ensure_virtualenv()
    stack.build()
    stack.build_rabbitmq()
    checks.test_on_releases()


def _test_hosts() -> None:
    _prepare_hosts()
    checks.test_on_hosts()


def _test_ansible_oldest() -> None:
    ansible = oldest.ensure_ansible()
    _prepare_hosts()
    checks.test_site_once(ansible, oldest.SUITE)


def _prepare_hosts() -> None:
    """Make the requirements of the tests on hosts: images of bare machines, Ansible, and ssh.

    :raises SetupError: if Ansible does not run on this Python.
    """
    _require_ansible()
    machines.require_ssh()
    host.require_engine()
    host.require_disk(ROOM_FOR_IMAGES)
    plugins.ensure_plugins()
    virtualenv.ensure_virtualenv()
    for kind in testhosts.KINDS:
        testhosts.build(kind)


def _require_ansible() -> None:
    if sys.version_info < OLDEST_FOR_ANSIBLE:
        raise SetupError(
            "Ansible needs Python {}.{} or newer".format(*OLDEST_FOR_ANSIBLE),
            "Name a newer one, for example: make hosts PYTHON=python3.13",
        )


def _dist() -> None:
    """Make a release; Ansible builds its collection."""
    _require_ansible()
    _prepare()
    virtualenv.ensure_virtualenv()
    dist.make()


def _hosts() -> None:
    _prepare_hosts()
    machines.up()


def _hosts_down() -> None:
    host.require_engine()
    machines.down()


def _check() -> None:
    _docs()
    checks.check()


def _docs() -> None:
    virtualenv.ensure_virtualenv()
    pages.build()


def _down() -> None:
    host.require_engine()
    stack.require_own()
    stack.down()


def _help() -> None:
    for name, text in re.findall(r"^([a-z-]+):.*?## (.*)$", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE):
        say(f"make {name:21}{text}")


COMMANDS: dict[str, Callable[[], int | None]] = {
    "up": _up,
    "demo": lambda: _in_containers("tests.faults.demo"),
    "bench": _bench,
    "faults": lambda: _in_containers("tests.faults"),
    "apps": lambda: _in_containers("tests.real"),
    "test": _test,
    "test-celery": _test_celery,
    "brokers": _brokers,
    "test-hosts-all": _test_hosts,
    "test-ansible-oldest": _test_ansible_oldest,
    "dist": _dist,
    "docs": _docs,
    "hosts": _hosts,
    "hosts-down": _hosts_down,
    "check": _check,
    "down": _down,
    "clean": cleanup.clean,
    "help": _help,
    "base-image": debian.ensure_image,
    "sizes": sizes.write,
}
