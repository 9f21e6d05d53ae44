"""Transports of the kit's own: on Redis for workers, while whoever sends jobs keeps Kombu's; on PGMQ for all."""

from __future__ import annotations

from typing import Any


def install(app: Any, workplace: Any) -> None:
    """Let every connection that ``app`` makes from now on use the kit's transport, where the kit has one.

    :param workplace: the :class:`~celerykit.transports.redis.workplace.Workplace` of the process.
    """
    from kombu.transport import redis as stock

    from celerykit.transports import redis

    ours = {stock.Transport: redis.Transport, stock.SentinelTransport: redis.SentinelTransport}

    class Connection(app.amqp.Connection):  # type: ignore[misc]
        def get_transport_cls(self) -> Any:
            theirs = super().get_transport_cls()
            return ours.get(theirs, theirs)

    Connection.workplace = workplace
    app.amqp.Connection = Connection


def register() -> None:
    """Let every connection of this process to PGMQ use the kit's transport, whoever makes it."""
    from kombu.transport import TRANSPORT_ALIASES

    TRANSPORT_ALIASES["pgmq"] = "celerykit.transports.pgmq:Transport"
