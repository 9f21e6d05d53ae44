"""The app's own environment file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from celerykit.config import environment
from celerykit.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Run

TEXT = r"""
# what the app reads
SECRET_KEY=django-insecure-$x#1 &;|`'"(\)=é
export DATABASE_URL="postgres://u:p a@db/x?a=1&b=2"
SINGLE='two words'
EMPTY=
MIXED="it's
CELERY_APP=ours
CELERY_BROKER_URL=redis://elsewhere/0
CELERY_FOO_BAR=1
"""


def resolve(tmp_path: Path, **environ: str) -> environment.Environment:
    """Resolve a worker's environment with the app's file."""
    (tmp_path / "app.env").write_text(TEXT)
    told = {"CELERYKIT_CONFIG_DIR": str(tmp_path), "CELERYKIT_APP_ENV_FILE": str(tmp_path / "app.env"), **environ}
    return environment.resolve("worker", told)


def test_a_value_may_hold_any_characters(tmp_path: Path) -> None:
    """A secret key of Django, a URL with `&`, words with spaces: all reach the app as they are."""
    told = resolve(tmp_path).values
    assert told["SECRET_KEY"] == r"""django-insecure-$x#1 &;|`'"(\\)=é""".replace("\\\\", "\\")
    assert told["DATABASE_URL"] == "postgres://u:p a@db/x?a=1&b=2"
    assert (told["SINGLE"], told["EMPTY"], told["MIXED"]) == ("two words", "", "\"it's")


def test_whatever_else_says_a_variable_wins_over_the_app_s_file(tmp_path: Path) -> None:
    """The stack's broker is no victim of a line that the app has for its developers, nor is it given twice."""
    (tmp_path / "url").write_text("redis://stack/0")
    (tmp_path / "celery.env").write_text("SINGLE=shared\n")
    told = resolve(tmp_path, CELERY_BROKER_URL_FILE=str(tmp_path / "url"), SECRET_KEY="mine", DATABASE_URL="")
    assert told.values["CELERY_BROKER_URL"] == "redis://stack/0"
    assert (told.values["SECRET_KEY"], told.values["SINGLE"], told.values["CELERY_APP"]) == ("mine", "shared", "ours")
    assert told.values["DATABASE_URL"].startswith("postgres:"), "compose passes what nobody has set as empty"
    errors, (warning,) = environment.unknown_names(told)
    assert (errors, warning.variable) == ([], "CELERY_FOO_BAR"), "a name of the app's own is no mistake"


def test_a_file_that_cannot_be_read_or_a_line_that_is_none_is_named_without_its_value(tmp_path: Path) -> None:
    """What is wrong, where, and no secret."""
    with pytest.raises(ConfigurationError, match=r"CELERYKIT_APP_ENV_FILE=/none .environment.: cannot be read"):
        resolve(tmp_path, CELERYKIT_APP_ENV_FILE="/none")
    (tmp_path / "bad").write_text("A=1\n-----BEGIN hunter2\n")
    with pytest.raises(ConfigurationError) as caught:
        resolve(tmp_path, CELERYKIT_APP_ENV_FILE=str(tmp_path / "bad"))
    assert f"({tmp_path}/bad:2): not a KEY=value line" in str(caught.value) and "hunter2" not in str(caught.value)


def test_the_app_has_it_when_it_is_imported(celerykit: Run, tmp_path: Path) -> None:
    """Its settings module can read them; an explanation does not show them."""
    (tmp_path / "app.env").write_text("CELERY_APP=wanting\nSECRET_KEY=a b$c\n")
    answer = celerykit("worker", "--explain", CELERYKIT_APP_ENV_FILE=str(tmp_path / "app.env"))
    assert (answer.returncode, answer.stderr) == (0, "the app has a b$c\n")
    assert "a b$c" not in answer.stdout


def test_any_program_can_have_what_the_processes_are_told(celerykit: Run, etc: Path, tmp_path: Path) -> None:
    """A command beside the workers imports the app as they do; secrets stay in their files until they are asked for."""
    (tmp_path / "app.env").write_text("SECRET_KEY=a b$c\n")
    (etc / "celery.env").write_text(f"CELERYKIT_APP_ENV_FILE={tmp_path}/app.env\nCELERY_BROKER_URL_FILE=/none\n")
    ask = "import os; print(os.environ['SECRET_KEY'], os.environ['CELERY_BROKER_URL_FILE'])"
    for words in (("run",), ("run", "--")):
        answer = celerykit(*words, sys.executable, "-c", ask)
        assert (answer.returncode, answer.stdout) == (0, "a b$c /none\n"), answer.stderr
    refused = celerykit("run", "no-such-program")
    assert (refused.returncode, "PROGRAM=no-such-program" in refused.stderr) == (78, True)
