"""The commands that the Makefile calls, each a list of steps."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import checks
import cleanup
import debian
import host
import machines
import plugins
import sizes
import stack
import testhosts
import virtualenv
from console import SetupError, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOM_FOR_IMAGES = 3.0
"""GiB: the images and the cache of their build."""


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
    stack.require_port()
    stack.build()
    stack.start()
    stack.run_example()
    say(f"[{time.monotonic() - began:6.1f} s] in all")
    stack.explain()


def _demo() -> int:
    _prepare()
    virtualenv.ensure_virtualenv()
    stack.build()
    return checks.demo()


def _test() -> None:
    host.require_engine()
    if not os.environ.get("CELERYKIT_TEST_APP"):
        _check()
    _prepare()
    virtualenv.ensure_virtualenv()
    stack.build()
    stack.build_allinone()
    checks.test_in_containers()


def _test_hosts() -> None:
    _prepare()
    virtualenv.ensure_virtualenv()
    for suite in debian.SUITES:
        testhosts.build(suite, "units")
    checks.test_on_hosts(debian.SUITES)


def _hosts() -> None:
    host.require_engine()
    host.require_disk(ROOM_FOR_IMAGES)
    plugins.ensure_plugins()
    virtualenv.ensure_virtualenv()
    machines.up()


def _hosts_down() -> None:
    host.require_engine()
    machines.down()


def _check() -> None:
    virtualenv.ensure_virtualenv()
    checks.check()


def _down() -> None:
    host.require_engine()
    stack.down()


def _help() -> None:
    for name, text in re.findall(r"^([a-z-]+):.*?## (.*)$", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE):
        say(f"make {name:15}{text}")


COMMANDS: dict[str, Callable[[], int | None]] = {
    "up": _up,
    "demo": _demo,
    "test": _test,
    "test-hosts-all": _test_hosts,
    "hosts": _hosts,
    "hosts-down": _hosts_down,
    "check": _check,
    "down": _down,
    "clean": cleanup.clean,
    "help": _help,
    "base-image": debian.ensure_image,
    "sizes": sizes.write,
}
