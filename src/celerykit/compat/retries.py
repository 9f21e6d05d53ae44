"""Retries of whatever is asked of a result backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celerykit import releases

if TYPE_CHECKING:
    from collections.abc import Callable


def methods_that_retry() -> tuple[str, ...]:
    """Return the methods of a result backend that try something again; an older one has a loop in each."""
    return ("store_result", "get_task_meta") if releases.lacks("one retry for all") else ("_ensure_retryable",)


def retried(backend: Any, do: Callable[..., Any], *args: Any) -> Any:
    """Have a result backend do something, by its own retries where it has them for that."""
    return do(*args) if releases.lacks("one retry for all") else backend._ensure_retryable(do, *args)


def retry_hook(backend: Any) -> Callable[[Exception], None]:
    """Return what a result backend does before it tries again, nothing where it has no such thing."""
    hook: Callable[[Exception], None] = getattr(backend, "on_backend_retryable_error", _do_nothing)
    return hook


def _do_nothing(_: Any) -> None:
    """Do what an older release does."""
