"""The app that ``CELERY_APP`` names: its import, and the reason and remedy when the import fails."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celerykit import releases, secretfile
from celerykit.config import option_names
from celerykit.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celerykit.config.environment import Environment

CELERYS = ("amqp", "billiard", "celery", "kombu", "vine")
"""Packages whose releases belong together."""
NO_LIBRARY = "cannot open shared object file"
OF_SYSTEM = (
    "Install the library that it names. For one of the system, CELERYKIT_APT puts packages of Debian into the images, "
    "and a file apt.txt of the app's folder has them on hosts"
)
EXTENSION = "celery"
"""The key of the Celery app in a Flask app, by Flask's documentation: ``app.extensions["celery"]``."""


ENVIRON = type(os.environ).__getitem__.__code__.co_filename
"""The file whose code raises KeyError for an unset variable."""
MACHINERY = ("<frozen", ENVIRON, importlib.__file__)
"""Prefixes of Python's own files at the end of a traceback of an import."""


class NoAppError(Exception):
    """The name leads to an object that is no Celery app."""


def find(name: str) -> Any:
    """Return the app of a name, or the app that a function of that name makes.

    A function is called without arguments. A Flask app stands for the Celery app that it keeps.

    :raises NoAppError: if there is none.
    """
    from celery import Celery
    from celery.local import Proxy

    candidate = _search(name)
    if inspect.isroutine(candidate):
        if needed := _needed(candidate):
            raise NoAppError(f"{name} is a function that wants {', '.join(needed)}")
        candidate = candidate()
    kept = getattr(candidate, "extensions", None)
    if isinstance(kept, dict):
        candidate = kept.get(EXTENSION, candidate)
    if not isinstance(candidate, Celery):  # a proxy of an app passes this test
        raise NoAppError(f"{name} leads to a {type(candidate).__qualname__} of {type(candidate).__module__}")
    return candidate._get_current_object() if isinstance(candidate, Proxy) else candidate


def failure(error: BaseException, environment: Environment) -> Finding:
    """Return the finding for an app whose import raised ``error``, with the remedy for that error."""
    name = environment.values["CELERY_APP"]
    problem, remedy = _diagnose(error, name)
    return Finding("CELERY_APP", name, environment.sources["CELERY_APP"], problem, remedy)


def _search(name: str) -> Any:
    from celery.app.utils import find_app

    try:
        return find_app(name)
    except ModuleNotFoundError as exc:
        if ":" not in (exc.name or ""):
            raise
        module, _, attribute = name.partition(":")
        raise NoAppError(f"{module} has no {attribute}") from exc
    except AttributeError:
        if hasattr(sys.modules.get(name), "__path__") and importlib.util.find_spec(f"{name}.celery"):
            # Celery treats a module that fails to import as missing; import it here to get its own error.
            importlib.import_module(f"{name}.celery")
        raise


def _needed(function: Any) -> list[str]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [item.name for item in parameters if item.default is item.empty and item.kind not in kinds]


def _diagnose(error: BaseException, name: str) -> tuple[str, str]:
    is_of_search = isinstance(error, NoAppError) or (isinstance(error, AttributeError) and _is_of_search(error))
    if (is_of_search or isinstance(error, ImportError)) and (closed := _closed(name, getattr(error, "name", None))):
        return f"cannot be read by user {os.geteuid()}: {closed} is closed to it", secretfile.permit(closed)
    if is_of_search:
        return f"names no Celery app: {str(error).rstrip('.')}", _name_an_app(name)
    raised = " ".join(traceback.format_exception_only(error)[-1].split())
    problem = f"does not import: {raised}{_place(error)}"
    if isinstance(error, PermissionError) and error.filename:
        return problem, secretfile.permit(Path(os.fsdecode(error.filename)))
    if NO_LIBRARY in raised or (type(error) is ImportError and error.name is None):
        return problem, OF_SYSTEM
    if isinstance(error, ImportError):
        return problem, _of_import(error, _module(name))
    if isinstance(error, SyntaxError):
        return problem, f"Mend that line, or use a Python that reads it: this is {sys.version.split()[0]}"
    if type(error).__name__ == "ImproperlyConfigured" and "DJANGO_SETTINGS_MODULE" in str(error):
        return problem, "Set DJANGO_SETTINGS_MODULE to the project's settings, such as mysite.settings"
    if isinstance(error, KeyError) and traceback.extract_tb(error.__traceback__)[-1].filename == ENVIRON:
        remedy = f"The app wants {error.args[0]} in its environment: the file of CELERYKIT_APP_ENV_FILE may set it"
        return problem, remedy
    return (
        problem,
        "The app's own code raises this during its import: mend it there, or provide the missing requirement",
    )


def _of_import(error: ImportError, sought: str) -> str:
    """Return the remedy for a module that is missing, or that lacks a name."""
    missing = error.name or ""
    top = missing.partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and f"{sought}.".startswith(f"{missing}."):
        return _not_found(missing)
    if top in CELERYS:
        installed = releases.describe("celery")
        return (
            f"The app is made for another release than {installed}, which is here: have its requirements name that one"
        )
    if top == sought.partition(".")[0]:
        return "It is a module of the app's own: mend the import, or deploy the module, too"
    if isinstance(error, ModuleNotFoundError) and (top == missing or importlib.util.find_spec(top) is None):
        return f"Add the package that has the module {top} to the app's requirements, and install it where this runs"
    return f"The app is made for another release of {top or 'that package'} than is here: have its requirements name it"


def _not_found(missing: str) -> str:
    """Return the remedy for a missing module of the app."""
    parent, _, last = missing.rpartition(".")
    if package := sys.modules.get(parent):
        modules = [item.name for item in pkgutil.iter_modules(getattr(package, "__path__", []))]
        near = option_names.closest(last, modules)
        return f"Did you mean {parent}.{near}?" if near else _name_an_app(parent)
    current = Path.cwd()
    for folder in (current / "src", current.parent):
        if _has(folder, missing):
            return f"It is in {folder}: set CELERY_WORKDIR={folder}, or start there, or install the app as a package"
    searched = f"It is neither in {current} nor on the Python path"
    if near := option_names.closest(missing, [item.name for item in pkgutil.iter_modules([str(current)])]):
        return f"{searched}; did you mean {near}?"
    return f"{searched}: start in the folder that holds it, name that folder in CELERY_WORKDIR, or install the app"


def _name_an_app(name: str) -> str:
    """Return a remedy with a name of an app in a module."""
    from celery import Celery

    module = sys.modules.get(_module(name))
    apps = [key for key, value in vars(module).items() if isinstance(value, Celery)] if module else []
    if apps:
        return f"Did you mean {_module(name)}:{apps[0]}?"
    return "Name an app, or a function that makes one without arguments, as module:name"


def _is_of_search(error: BaseException) -> bool:
    """Say whether Celery's search for the app raised the error, and not the app's own code."""
    return _frames(error)[-1].filename.endswith(("celery/app/utils.py", "kombu/utils/imports.py"))


def _module(name: str) -> str:
    return name.partition(":")[0]


def _closed(*modules: str | None) -> Path | None:
    """Return the first path of the modules that this user may not read: Python treats a closed folder as empty."""
    if not os.access(folder := Path.cwd(), os.R_OK | os.X_OK):
        return folder
    for path in (path for module in modules if module for path in _on_the_way(_module(module))):
        if not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
            return path
    return None


def _on_the_way(module: str) -> Iterator[Path]:
    """Yield the folders and files of a module in the first folder of the Python path that has it."""
    parts = module.split(".")
    folders = (Path(entry or ".") for entry in sys.path)
    folder = next((folder for folder in folders if _has(folder, parts[0])), Path("/nonexistent"))
    for part in parts:
        folder /= part
        for path in (folder, folder / "__init__.py", folder.with_suffix(".py")):
            if os.access(path, os.F_OK):
                yield path


def _has(folder: Path, module: str) -> bool:
    part = folder / module.partition(".")[0]
    return os.access(part, os.F_OK) or os.access(f"{part}.py", os.F_OK)


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames of an error, without those of Python's own import machinery."""
    frames = list(traceback.extract_tb(error.__traceback__))
    return [frame for frame in frames if not frame.filename.startswith(MACHINERY)] or frames


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f" (at {error.filename}:{error.lineno})"
    frame = _frames(error)[-1]
    if frame.filename.endswith("kombu/utils/imports.py"):
        return ""  # the search for the app
    return f" (at {frame.filename}:{frame.lineno})"
