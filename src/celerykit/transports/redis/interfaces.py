"""What the parts of this transport know of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Consumer(Protocol):
    """Whoever fetches the jobs of a channel, as a lease and its keeper know it."""

    def wake(self) -> None:
        """Have a turn soon; from any thread."""

    def ring(self) -> None:
        """Look into all queues at the next turn; from any thread."""

    def has_work(self, client: Any) -> bool:
        """Say whether there is work that nobody has rung for."""

    def consumed_lists(self) -> list[bytes]:
        """Return the lists of the queues that it consumes."""


class Polled(Protocol):
    """A channel, as the poller knows it."""

    @property
    def handlers(self) -> Mapping[str, Callable[[], Any]]:
        """What is called when one of its connections can be read, by the kind of that."""

    @property
    def fetcher(self) -> Polling | None:
        """Who fetches its jobs, if it reserves them under a lease."""


class Polling(Protocol):
    """Whoever fetches the jobs of a channel, as the poller knows it."""

    @property
    def sources(self) -> Any:
        """The connections by which it hears of them."""

    def on_turn(self, poller: Any) -> None:
        """Send what is due."""


class Keeping(Protocol):
    """Whoever keeps a lease."""

    @property
    def runs(self) -> bool:
        """Whether it has begun and not ended."""

    def renew(self) -> None:
        """Renew it at once."""

    def start(self) -> None:
        """Begin, unless it runs."""

    def stop(self) -> None:
        """End, and renew no more."""
