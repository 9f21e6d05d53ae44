"""What a process imports of Celery's command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celerykit.config import celery_cli, option_names

if TYPE_CHECKING:
    from tests.unit.conftest import Run

LOOK = "print(*sorted({'prompt_toolkit', 'flower', 'click_repl'} & set(sys.modules)))"
START = "import os, sys; from celerykit import launch; launch.prepare({process!r}, os.environ, 'default', [])"


@pytest.mark.parametrize("process", ["worker", "beat"])
def test_no_process_has_modules_for_people_at_a_terminal(python: Run, process: str) -> None:
    """Neither a prompt's nor Flower's take its memory, or time of its start."""
    begun = python("-c", f"{START.format(process=process)}; {LOOK}", environ={"CELERY_APP": "nothing"})
    assert (begun.returncode, begun.stdout) == (0, "\n"), begun.stderr


def test_an_app_gets_the_real_modules(python: Run) -> None:
    """What the kit has left out, whoever asks for it finds."""
    ask = "import click_repl; print(click_repl.repl.__name__, 'flower' in celery_cli.whole().commands)"
    asked = python("-c", f"from celerykit.config import celery_cli; celery_cli.stock(); {ask}")
    assert asked.stdout.split() == ["repl", "True"], asked.stderr


def test_options_of_other_packages_commands_are_known() -> None:
    """One of theirs is no mistake, one that only begins like it is."""
    assert celery_cli.plugins() == ["flower"]
    assert option_names.is_known("CELERY_FLOWER_TORNADO_ARGV")
    assert not option_names.is_known("CELERY_FLOWER_TORNADO")
