"""The leases of this process: one for each server and database that its worker takes jobs from."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import redis

from celerykit.transports.redis import keys
from celerykit.transports.redis.heartbeat import Keeper
from celerykit.transports.redis.lease import Lease

if TYPE_CHECKING:
    from celerykit.transports.redis.consumer_info import Workplace

PATIENCE = 2.0
"""Seconds that one answer is waited for. Several fit into a lease."""


def lease_for(channel: Any, workplace: Workplace) -> Lease:
    """Return the one lease of this process on a channel's server and database."""
    conninfo = channel.connection.client
    where = (conninfo.as_uri(), channel.global_keyprefix, channel.unacked_key, os.getpid())
    with workplace.lock:
        if where not in workplace.leases:
            workplace.leases[where] = _made(channel, workplace)
        lease: Lease = workplace.leases[where]
        return lease


def _made(channel: Any, workplace: Workplace) -> Lease:
    """Return a lease on a channel's server, with connections of its own, and somebody who keeps it."""
    pool = channel._get_pool()
    pool.connection_kwargs.update(socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
    client = redis.Redis(connection_pool=pool)
    keep = partial(Keeper, visibility_timeout=channel.visibility_timeout)
    return Lease(client, keys.of(channel), workplace, keep)
