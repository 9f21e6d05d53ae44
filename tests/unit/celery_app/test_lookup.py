"""How the app is found by its name, and what is said of one that does not import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery

import celerykit
from celerykit.celery_app import lookup
from celerykit.config.environment import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator

MADE = """
from celery import Celery
class Flask:
    def __init__(self): self.extensions = {"celery": Celery("of_flask")}
def create_celery(name="made"): return Celery(name)
def create_app(): return Flask()
def wants(settings): return Celery("never")
flask = Flask()
"""
FILES = {
    "made.py": MADE,
    "several.py": "from celery import Celery; worker = Celery('x')",
    "package/__init__.py": "",
    "package/celery.py": "import requestz",
    "own.py": "import own.tasks",
    "needs.py": "import requestz",
    "old.py": "from celery.task import task",
    "older.py": "from kombu import no_such_name",
    "other.py": "from click import no_such_name",
    "program.py": "raise ImportError('Bad git executable.\\n\\nIt must be in PATH')",
    "library.py": "raise ImportError('libx.so.2: cannot open shared object file: gone', name='x._x', path='/x/_x.so')",
    "variable.py": "import os; os.environ['SECRET_KEY']",
    "syntax.py": "\ndef (",
    "zero.py": "1 / 0",
    "nothing_here.py": "",
    "django_like.py": "class ImproperlyConfigured(Exception): ...\n"
    "raise ImproperlyConfigured('You must define DJANGO_SETTINGS_MODULE')",
    "src/inner/__init__.py": "",
}
SAID = {
    "needs": ("No module named 'requestz' (at {here}/needs.py:1)", "the module requestz to the app's requirements"),
    "package": ("No module named 'requestz' (at {here}/package/celery.py:1)", "the app's requirements"),
    "old": ("No module named 'celery.task'", "made for another release than celery "),
    "older": ("cannot import name 'no_such_name'", "made for another release than celery "),
    "other": ("cannot import name 'no_such_name'", "made for another release of click"),
    "program": ("ImportError: Bad git executable. It must be in PATH (at", "CELERYKIT_APT"),
    "library": ("ImportError: libx.so.2: cannot open", "CELERYKIT_APT"),
    "variable": ("KeyError: 'SECRET_KEY' (at {here}/variable.py:1)", "CELERYKIT_APP_ENV_FILE"),
    "syntax": ("(at {here}/syntax.py:2)", "a Python that reads it"),
    "zero": ("ZeroDivisionError: division by zero (at {here}/zero.py:1)", "raises this during its import"),
    "django_like": ("DJANGO_SETTINGS_MODULE", "Set DJANGO_SETTINGS_MODULE"),
    "own": ("No module named 'own.tasks'", "a module of the app's own"),
    "nedes": ("No module named 'nedes'", "did you mean needs?"),
    "inner": ("No module named 'inner'", "CELERY_WORKDIR={here}/src"),
    "quite_another": ("No module named 'quite_another'", "in the folder that holds it"),
    "several:app": ("names no Celery app: several has no app", "Did you mean several:worker?"),
    "nothing_here": ("names no Celery app", "as module:name"),
    "made:wants": ("made:wants is a function that wants settings", "without arguments"),
    "made:Flask": ("leads to a type of builtins", "as module:name"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the working directory, with apps of each kind, forgotten afterwards."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "main"),
    [("made:create_celery", "made"), ("made:create_app", "of_flask"), ("made:flask", "of_flask"), ("several", "x")],
)
def test_an_app_that_a_function_makes_is_found(here: Path, name: str, main: str) -> None:
    """So is one that a Flask app keeps where Flask's documentation says; all others as by Celery."""
    assert lookup.find(name).main == main


def test_celerys_default_app_is_the_app_itself() -> None:
    """An app that is a `celeryconfig.py` starts by `CELERY_APP=celery:current_app`: Celery would call the proxy."""
    assert type(lookup.find("celery:current_app")) is Celery


@pytest.mark.parametrize("name", SAID)
def test_each_failure_has_a_remedy_of_its_own(here: Path, name: str) -> None:
    """A missing package is no wrong folder, and neither is another release of Celery."""
    with pytest.raises(Exception) as caught:  # noqa: PT011, whatever an app raises
        lookup.find(name)
    told = Environment({"CELERY_APP": name}, {"CELERY_APP": "environment"})
    said = str(lookup.failure(caught.value, told))
    assert said.startswith(f"CELERY_APP={name} (environment): ")
    for part in SAID[name]:
        assert part.format(here=here) in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("closed", "app"), [("needs.py", "needs"), ("package", "package"), (".", "needs"), ("package/celery.py", "package")]
)
def test_an_app_that_its_user_may_not_read_is_said_to_be_closed(tmp_path: Path, closed: str, app: str) -> None:
    """Python says that a closed folder has no module; the answer is who may not read it and how to permit it."""
    folder = tmp_path / "app"
    (folder / "package").mkdir(parents=True)
    for name in ("needs.py", "package/__init__.py", "package/celery.py"):
        (folder / name).write_text("" if "init" in name else "from celery import Celery; app = Celery()")
    (folder / closed).chmod(0o600)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    ask = (
        "import os, sys; sys.dont_write_bytecode = True; sys.path[0] = '.'\n"
        "from celerykit.celery_app import lookup; from celerykit.config.environment import Environment\n"
        "import celery.worker.state; celery.Celery()  # Python itself may be in a folder of root's\n"
        f"os.chdir({str(folder)!r}); os.setgid(10001); os.setgroups([]); os.setuid(10001)\n"
        f"try: lookup.find({app!r})\n"
        f"except Exception as exc: print(lookup.failure(exc, Environment({{'CELERY_APP': {app!r}}},"
        " {'CELERY_APP': 'environment'})))"
    )
    environ = {"PYTHONPATH": str(Path(celerykit.__file__).parents[1]), "PATH": os.environ["PATH"]}
    answer = subprocess.run([sys.executable, "-c", ask], env=environ, capture_output=True, text=True, check=False)
    assert "user 10001" in answer.stdout and "chmod -R o+rX" in answer.stdout, answer
    assert str(closed).removesuffix(".") in answer.stdout
