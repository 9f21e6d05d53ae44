"""Kombu's transports for Redis and Sentinel, with channels that hold jobs under a lease."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from kombu.transport import redis as stock

from celerykit.compat import redis_polling
from celerykit.transports.redis.channel import LeasedChannel
from celerykit.transports.redis.poller import Poller


class SentinelChannel(LeasedChannel, stock.SentinelChannel):
    """A channel that holds jobs under a lease, on the server that Sentinel calls the master."""


class Transport(stock.Transport):
    """Redis, alone or as the server of ``rediss://``."""

    Channel: Any = LeasedChannel
    cycle: Any
    default_port: Any = stock.DEFAULT_PORT

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.cycle = Poller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Have the event loop ask for jobs, whatever becomes of single connections."""
        super().register_with_event_loop(connection, loop)
        redis_polling.keep_polling(self.cycle, connection, loop)

    @property
    def is_served(self) -> bool:
        """Whether jobs come by each channel that is to get some: a server may let a worker in, and refuse that."""
        return all(channel.fetcher.is_served for channel in self.channels if channel.is_leased)

    def close_connection(self, connection: Any) -> None:
        """Close the channels that hold jobs first: where the server is away, the others may fail to close."""
        for channel in [channel for channel in self.channels if channel.is_leased]:
            with suppress(*self.connection_errors, *self.channel_errors):
                channel.close()
        super().close_connection(connection)

    def _reject_inbound_message(self, raw_message: Any) -> None:
        """Put back, to be the next, a job of a queue that is no longer consumed."""
        leased = next((channel for channel in self.channels if channel.is_leased), None)
        if leased is None:
            super()._reject_inbound_message(raw_message)
        else:
            leased.lease.requeuer.requeue([raw_message["properties"]["delivery_tag"]])


class SentinelTransport(Transport):
    """Redis behind Sentinel."""

    default_port = stock.SentinelTransport.default_port
    Channel = SentinelChannel
