"""The command line: the only room that prints and decides on exit codes."""

from celerykit.cli.parser import main

__all__ = ("main",)
