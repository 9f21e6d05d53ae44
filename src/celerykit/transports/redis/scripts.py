"""The steps that Redis takes at once, each in a file of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path(__file__).parent / "lua"


@dataclass(frozen=True)
class Script:
    """A Lua script that the server keeps until it restarts, and is told again when it has forgotten it."""

    name: str
    before: str = ""
    """The file that it begins with, if it shares one with others."""

    @cached_property
    def text(self) -> str:
        """The script itself."""
        return "".join(
            (FOLDER / f"{name}.lua").read_text(encoding="utf-8") for name in (self.before, self.name) if name
        )

    @cached_property
    def sha(self) -> str:
        """What the server knows it by."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def command(self, keys: Sequence[str], arguments: Sequence[Any]) -> tuple[Any, ...]:
        """Return the command that runs it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)

    def __call__(self, client: Any, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run it and wait for the answer.

        :param client: a :class:`redis.Redis` that leaves keys as they are.
        """
        return run(client, self.command(keys, arguments), self)


def run(client: Any, command: Sequence[Any], script: Script) -> Any:
    """Run a script's command; tell the server the script first, if it has forgotten it."""
    try:
        return client.execute_command(*command)
    except NoScriptError:
        client.script_load(script.text)
        return client.execute_command(*command)


WAITING = "waiting"
RESERVE = Script("reserve", WAITING)
RENEW = Script("renew")
HAS_WORK = Script("has_work")
REQUEUE = Script("requeue")
AROUND = Script("around")
OVERDUE = Script("overdue")
MARK_STARTED = Script("mark_started")
PROBE_PERMISSIONS = Script("probe_permissions")
REVOKE = Script("revoke", WAITING)
DUE = Script("due", WAITING)
RELEASE = Script("release", WAITING)
DROP = Script("drop", WAITING)
