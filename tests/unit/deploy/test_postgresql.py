"""PostgreSQL on a host: which variables are refused, and what its user may do."""

from __future__ import annotations

from typing import Any, cast

import pytest

from celerykit.deploy import postgresql

GIVEN: dict[str, Any] = {
    "host": {"system": "Debian 13", "service_mgr": "systemd", "addresses": ["10.0.0.5"]},
    "package": {"known": True, "version": "17", "oldest": "14"},
    "password": "hunter2",
    "bind": ["127.0.0.1"],
    "port": "5432",
    "memory": "512MB",
    "cluster": "celery",
    "clusters": [],
}
OWN = "17 celery 5432 online postgres /var/lib/postgresql/17/celery /var/log/postgresql/x.log"


def make(**given: Any) -> dict[str, Any]:
    """Return the answer to the role."""
    return postgresql.make(cast("Any", {**GIVEN, **given}))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"password": ""}, "postgresql_password is not set"),
        ({"password": "d&f"}, "postgresql_password is set, but holds a character that a URL would need quoted"),
        ({"bind": ["192.0.2.1"]}, "postgresql_bind has 192.0.2.1, which is no address of this host"),
        ({"bind": []}, "postgresql_bind=[]: PostgreSQL would listen nowhere"),
        ({"memory": "a lot"}, "postgresql_memory=a lot is no amount"),
        ({"package": {"known": True, "version": "13", "oldest": "14"}}, "needs PostgreSQL 14 or newer, and Debian 13"),
        ({"clusters": ["17 main 5432 online postgres /x /y"]}, "that of the PostgreSQL there, cluster 17/main"),
        ({"clusters": [OWN.replace("17", "15")]}, "jobs and results are in PostgreSQL 15"),
    ],
)
def test_a_server_that_would_not_start_or_lose_data_is_refused(given: dict[str, Any], reason: str) -> None:
    """With the variable, its value and the remedy, and no password."""
    (error,) = make(**given)["errors"]
    assert reason in error
    assert "d&f" not in error


@pytest.mark.parametrize("version", ["17", 17])
def test_a_cluster_of_the_role_s_own_is_taken(version: str | int) -> None:
    """Beside others with other ports; a certificate is for the addresses that hosts reach it by."""
    package = {**GIVEN["package"], "version": version}
    others = "17 main 5433 online postgres /x /y"
    answer = make(package=package, clusters=[OWN, others], bind=["127.0.0.1", "10.0.0.5"])
    assert (answer["errors"], answer["addresses"]) == ([], ["10.0.0.5"])


def test_the_password_is_written_as_a_verifier() -> None:
    """So that nobody who reads the file or the server's log can log in."""
    users = make()["users"]
    assert "SCRAM-SHA-256" in users and "hunter2" not in users
    assert users.endswith("\n")
