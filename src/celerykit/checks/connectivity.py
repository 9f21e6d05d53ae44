"""The connection and the login of an app to its broker and its result backend."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from celerykit.brokers import catalogue, postgresql, rabbitmq, tls
from celerykit.config import envfile
from celerykit.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REFUSED = re.compile(
    r"WRONGPASS|NOAUTH|NOPERM|[Nn]o permissions|ACCESS_REFUSED|[Aa]uthentication|invalid (username|password)"
)
ATTEMPTS = 3


def refusals(app: Any, sources: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the reasons why the broker or the result backend refuses the app, or does not answer.

    :param sources: where each variable comes from, for messages.
    """
    url = app.conf.broker_read_url
    shown = ";".join(url) if isinstance(url, (list, tuple)) else str(url or "")
    if problem := _problem(lambda: _enter_broker(app)):
        yield _finding("CELERY_BROKER_URL", shown, sources, "broker", problem)
    if problem := _problem(lambda: _enter_backend(app)):
        url = str(app.conf.result_backend)
        yield _finding(catalogue.backend_variable(url), url, sources, "result backend", problem)


def _enter_broker(app: Any) -> None:
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=ATTEMPTS, interval_start=0.2, interval_step=0.5)
        rabbitmq.require_version(connection)


def _enter_backend(app: Any) -> None:
    """Connect to a result backend with a server of its own: Redis and its like, and databases."""
    backend = app.backend
    if hasattr(backend, "client") and hasattr(backend.client, "ping"):
        backend.get(backend.get_key_for_task("celerykit"))  # a login alone is not yet the right to results
    elif hasattr(backend, "session_manager"):
        backend.session_manager.get_engine(backend.url, **backend.engine_options).connect().close()


def _problem(enter: Any) -> str:
    try:
        enter()
    except Exception as exc:  # each transport raises its own
        error = getattr(exc, "orig", None) or exc  # SQLAlchemy wraps the driver's error
        return str(error).strip().rstrip(".") or type(exc).__name__
    return ""


def _finding(variable: str, url: str, sources: Mapping[str, str], server: str, problem: str) -> Finding:
    if advice := tls.remedy(problem, url.partition(":")[0]):
        text, remedy = f"cannot connect to the {server}: {problem.removesuffix(advice).rstrip('. ')}", advice
    elif advice := rabbitmq.remedy(problem) or postgresql.remedy(problem):
        text, remedy = f"the {server} refuses: {problem.removesuffix(f'. {advice}')}", advice
    elif REFUSED.search(problem):
        text = f"the {server} refuses the login: {problem}"
        remedy = f"Give the user and password that the {server} knows, URL-encoded, in {variable}"
    else:
        text = f"the {server} does not answer: {problem}"
        remedy = "Start it, or mend the address; a firewall may be between"
    return Finding(
        variable,
        envfile.mask(variable, url),
        sources.get(variable, "the app's own settings"),
        envfile.mask("", text),
        remedy,
    )
