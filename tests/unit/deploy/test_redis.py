"""Redis and Valkey on a host: which variables are refused before anything is changed."""

from __future__ import annotations

from typing import Any, cast

import pytest

from celerykit.deploy import redis

THREE = ["10.0.0.5", "10.0.0.6", "10.0.0.7"]
GIVEN: dict[str, Any] = {
    "host": {"system": "Debian 13", "service_mgr": "systemd", "addresses": ["10.0.0.5"]},
    "family": "Debian",
    "package": {"known": True, "version": "8.0.2", "oldest": "7.0"},
    "server": "redis",
    "password": "abc",
    "results_password": "def",
    "sentinel_password": "",
    "bind": ["127.0.0.1", "-::1"],
    "port": "6379",
    "sentinel": [],
    "instance": "",
    "settings": {},
    "configuration": "/etc/redis/redis.conf",
    "on_port": [],
    "found": [],
    "data": "/var/lib/redis",
    "other_data": "/var/lib/valkey",
    "archive": "",
    "purge": "apt-get purge valkey-server",
}


def reasons(**given: Any) -> str:
    """Return the reasons of a refusal, nothing if the host is taken."""
    return "\n".join(redis.make(cast("Any", {**GIVEN, **given}))["errors"])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"password": ""}, "redis_password is not set. It is the password of the user celery in celery_broker_url"),
        (
            {"results_password": "d&f"},
            "redis_results_password is set, but holds a character that a URL",
        ),
        ({"bind": ["192.0.2.1"]}, "redis_bind has 192.0.2.1, which is no address of this host"),
        ({"sentinel": THREE}, "redis_sentinel_password is not set"),
        ({"sentinel": THREE[:2]}, "redis_sentinel has 2 addresses"),
        ({"sentinel": [*THREE, "10.0.0.8"]}, "redis_sentinel has 4 addresses"),
        ({"sentinel": [*THREE, THREE[0]]}, "redis_sentinel has 3 addresses"),
        ({"sentinel": ["10.0.0.6", "10.0.0.7", "10.0.0.8"]}, "and none is an address of this host"),
        (
            {"sentinel": THREE, "host": {**GIVEN["host"], "service_mgr": "sysvinit"}},
            "redis_sentinel needs systemd, and this host has sysvinit",
        ),
        (
            {"instance": "shop", "port": 6380, "family": "RedHat"},
            "redis_instance=shop, by celery_instance, is a server",
        ),
        ({"instance": "shop"}, "redis_port=6379 is that of another app's server, the one without a name"),
        (
            {"port": "6380", "on_port": ["/etc/redis/redis-shop.conf"]},
            "another app's server, /etc/redis/redis-shop.conf",
        ),
        ({"settings": {"Maxmemory-Policy": "allkeys-lru"}}, "redis_settings has maxmemory-policy. Take it out"),
        ({"found": ["/var/lib/redis/dump.rdb"]}, "keeps its data in /var/lib/redis/dump.rdb"),
        ({"found": ["/var/lib/valkey/appendonlydir"]}, "a valkey holds is in /var/lib/valkey"),
        ({"package": {"known": True, "version": "6.0.16", "oldest": "7.0"}}, "Debian 13 has 6.0.16"),
        (
            {"server": "valkey", "package": {"known": True, "version": "0", "oldest": "7.2"}},
            "redis_server=valkey needs Valkey 7.2 or newer, and Debian 13 has none",
        ),
    ],
)
def test_a_server_that_would_not_start_or_lose_jobs_is_refused(given: dict[str, Any], reason: str) -> None:
    """With the variable, its value and the remedy, and no password."""
    said = reasons(**given)
    assert reason in said
    assert "d&f" not in said


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"bind": ["0.0.0.0", "10.0.0.5"], "on_port": ["/etc/redis/redis.conf"]},
        {"sentinel": THREE, "sentinel_password": "ghi"},
        {"instance": "shop", "port": 6380, "on_port": [], "configuration": "/etc/redis/redis-shop.conf"},
        {"found": ["/var/lib/redis/dump.rdb", "/var/lib/redis/appendonlydir"]},
        {"package": {"known": False, "version": "0", "oldest": "7.0"}},
        {"package": {"known": True, "version": "10.0", "oldest": "7.0"}},
        {"settings": {"maxclients": 20000}},
    ],
)
def test_a_server_that_keeps_the_promise_is_taken(given: dict[str, Any]) -> None:
    """Alone, with Sentinel, and beside the server of another app."""
    assert reasons(**given) == ""
