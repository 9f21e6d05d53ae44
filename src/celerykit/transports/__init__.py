"""Transports of the kit's own: on Redis one for workers, and Kombu's with a check for whoever sends; on PGMQ one."""

from __future__ import annotations

from typing import Any


def install(app: Any, workplace: Any) -> None:
    """Let every connection that ``app`` makes from now on use the kit's transport, where the kit has one.

    :param workplace: the :class:`~celerykit.transports.redis.consumer_info.Workplace` of the process.
    """
    from kombu.transport import redis as stock

    from celerykit.transports import redis, sending

    # Kombu keeps the class of whoever has connected before the kit was there.
    ours: dict[Any, Any] = {
        **dict.fromkeys((stock.Transport, sending.Transport), redis.Transport),
        **dict.fromkeys((stock.SentinelTransport, sending.SentinelTransport), redis.SentinelTransport),
    }

    class Connection(app.amqp.Connection):  # type: ignore[misc]
        def get_transport_cls(self) -> Any:
            theirs = super().get_transport_cls()
            return ours.get(theirs, theirs)

    Connection.workplace = workplace
    app.amqp.Connection = Connection


def register() -> None:
    """Let every connection of this process to PGMQ or Redis use the kit's transport, whoever makes it."""
    from kombu.transport import TRANSPORT_ALIASES

    TRANSPORT_ALIASES.update(
        pgmq="celerykit.transports.pgmq:Transport",
        redis="celerykit.transports.sending:Transport",
        rediss="celerykit.transports.sending:Transport",
        sentinel="celerykit.transports.sending:SentinelTransport",
    )
