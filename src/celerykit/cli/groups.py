"""The commands in groups, as the help lists them: those for people first."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INDENT = "  "
WIDTH = 14
"""The width of the longest command name and a space, in characters."""


class Group:
    """Some commands under one heading of the help."""

    def __init__(self, commands: argparse._SubParsersAction[argparse.ArgumentParser], heading: str):
        self._commands = commands
        self._heading = heading
        self._summaries: dict[str, str] = {}

    def add(
        self,
        name: str,
        summary: str,
        run: Callable[[argparse.Namespace], int] | None = None,
        examples: Sequence[str] = (),
        **options: Any,
    ) -> argparse.ArgumentParser:
        """Add a command and return its parser.

        :param run: does the work and returns the exit code.
        :param examples: whole command lines.
        """
        self._summaries[name] = summary
        epilog = "\n".join(["examples:", *(f"{INDENT}{line}" for line in examples)]) if examples else None
        settings = {"epilog": epilog, "formatter_class": argparse.RawDescriptionHelpFormatter, **options}
        # Without `help`, argparse leaves the command out of its own list.
        command = self._commands.add_parser(name, description=f"{summary[0].upper()}{summary[1:]}.", **settings)
        command.set_defaults(run=run)
        return command

    def __str__(self) -> str:
        lines = (f"{INDENT}{name:<{WIDTH}}{summary}" for name, summary in self._summaries.items())
        return "\n".join([f"{self._heading}:", *lines])
