"""Waiting for a broker: as patient as before, but never long between two attempts, and with signs of life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_PAUSE = 5.0
"""Seconds between two attempts at most. Kombu backs off to 30 s, which an outage then costs once more."""


def watch(connection: Any, progress: Callable[[], None]) -> Any:
    """Make ``connection.ensure_connection`` call ``progress`` at each attempt and each second between two.

    :param connection: a :class:`kombu.Connection`, returned for chaining.
    """
    ensure = connection.ensure_connection

    def ensure_connection(*args: Any, callback: Callable[[], None] | None = None, **options: Any) -> Any:
        def on_pause() -> None:
            progress()
            if callback is not None:
                callback()

        return ensure(*args, callback=on_pause, **{"interval_max": LONGEST_PAUSE, **options})

    connection.ensure_connection = ensure_connection
    return connection
