"""What an app and its surroundings both say: which of the two holds, said in the log where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celerykit import brokers, envfile, settings
from celerykit.errors import Finding
from celerykit.loader import layer_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celerykit.environment import Environment

BROKER = "CELERY_BROKER_URL"
BACKEND = "CELERY_RESULT_BACKEND"
SIDES = {"read": "workers fetch jobs", "write": "jobs are sent"}


def differing(app: Any, told: Environment) -> Iterator[Finding]:
    """Yield where the app names another broker or result backend than it is told, and which of them holds."""
    layer = layer_of(app.conf)
    if layer is None:
        return
    where = f"app {app.main or told.values['CELERY_APP']}"
    for variable, name in ((BROKER, "broker_url"), (BACKEND, "result_backend")):
        own, given = _own(app.conf, layer, name, told.values.get(variable, "")), told.values.get(variable, "")
        if own and given and own != given:
            remedy = (
                f"Whatever sends jobs without {variable} still goes by the app's"
                if name == "broker_url"
                else ("Leave the variable out to have the app's")
            )
            yield _finding(name, own, where, f"gives way to {_shown(told, variable)}", remedy)
    yield from _sides(app.conf, told, where)
    yield from _results(app.conf, told, where)


def _sides(conf: Any, told: Environment, where: str) -> Iterator[Finding]:
    given = told.values.get(BROKER, "")
    for side, does in SIDES.items():
        name, variable = f"broker_{side}_url", f"CELERY_BROKER_{side}_URL".upper()
        own = conf.get(name)
        if own and given and own != given and not told.values.get(variable):
            problem = f"holds where {does}, and not {_shown(told, BROKER)}"
            yield _finding(name, own, where, problem, f"Name that broker in {variable} to have it win")


def _results(conf: Any, told: Environment, where: str) -> Iterator[Finding]:
    name = settings.variable("result_backend")
    own, given = conf.result_backend, told.values.get(name, "")
    if given and own != given and not told.values.get(BACKEND):
        problem = f"holds, and not {_shown(told, name)}"
        yield _finding("result_backend", own, where, problem, f"Name a result backend in {BACKEND} to have it win")


def _own(conf: Any, layer: Any, name: str, given: str) -> Any:
    """Return what the app says, before or after the layer has put over it what the environment says."""
    now = conf.changes.get(name)
    return now if now and now != given else layer.own.get(name)


def _shown(told: Environment, variable: str) -> str:
    return f"{variable}={envfile.mask(variable, told.values[variable])} ({told.sources[variable]})"


def _finding(name: str, own: Any, where: str, problem: str, remedy: str) -> Finding:
    urls = [*brokers.urls(own)] if own else []
    return Finding(name, ";".join(envfile.mask("", str(url)) for url in urls) or "None", where, problem, remedy)
