"""Retries of calls to a result backend, on each supported release of Celery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celerykit import releases

if TYPE_CHECKING:
    from collections.abc import Callable


def methods_that_retry() -> tuple[str, ...]:
    """Return the methods of a result backend that retry; in an older Celery each has a loop of its own."""
    return ("store_result", "get_task_meta") if releases.lacks("one retry for all") else ("_ensure_retryable",)


def retried(backend: Any, do: Callable[..., Any], *args: Any) -> Any:
    """Call a function with the retries of the result backend, where it has a method for that."""
    return do(*args) if releases.lacks("one retry for all") else backend._ensure_retryable(do, *args)


def retry_hook(backend: Any) -> Callable[[Exception], None]:
    """Return the hook of a result backend before each retry, a function without effect if it has none."""
    hook: Callable[[Exception], None] = getattr(backend, "on_backend_retryable_error", _do_nothing)
    return hook


def _do_nothing(_: Any) -> None:
    """Do nothing, as an older release does."""
