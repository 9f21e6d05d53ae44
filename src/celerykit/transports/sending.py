"""Kombu's transports for Redis and Sentinel, for whoever sends: a job that no queue takes is refused."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as stock

from celerykit.transports.reaching import Reaching


class Channel(Reaching, stock.Channel):
    """Kombu's channel on a server of its own."""


class SentinelChannel(Reaching, stock.SentinelChannel):
    """Kombu's channel on the server that Sentinel calls the master."""


class Transport(stock.Transport):
    """Redis, alone or as the server of ``rediss://``."""

    Channel: Any = Channel


class SentinelTransport(stock.SentinelTransport):
    """Redis behind Sentinel."""

    Channel: Any = SentinelChannel
