"""The command line: only this room prints and decides on exit codes."""

from celerykit.cli.parser import main

__all__ = ("main",)
