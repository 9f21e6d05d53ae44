"""A transport for Redis whose jobs are at every instant in a queue or in the hands of a worker that lives.

Whoever sends jobs needs none of it. See docs/redis.md.
"""

from __future__ import annotations

from celerykit.transports.redis.transport import SentinelTransport, Transport

__all__ = ["SentinelTransport", "Transport"]
