"""Brokers that speak TLS alone: the same faults, and whom they and their workers refuse."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import trustme
from celery import Celery

from celerykit.credentials import certificates
from tests.brokers import test_survival
from tests.brokers.conftest import PGMQ, RabbitMQ, Redis
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig
    from tests.rig.process import Process

    Broker = PGMQ | RabbitMQ | Redis

EX_CONFIG = 78


@pytest.fixture(params=[Redis, RabbitMQ, PGMQ], ids=["redis", "rabbitmq", "pgmq"])
def broker(request: pytest.FixtureRequest, rig: Rig) -> Broker:
    """A rig's broker that nobody reaches without TLS."""
    rig.encrypt()
    made: Broker = request.param(rig)
    return made


def deployed(worker: Process, url: str, authority: str, **also: str) -> tuple[int, str]:
    """Judge a configuration as a deployment does, and return the exit code and what is said."""
    worker.sh("echo 'from celery import Celery; app = Celery()' >/ledger/empty.py")
    told = {"CELERY_APP": "empty", "CELERY_BROKER_URL": url, "CELERYKIT_TLS_CA": authority, **also}
    shared = "".join(f"{name}={value}\n" for name, value in told.items())
    files = {"celery.env": shared, "worker-default.env": ""}
    asked = {"folder": "/etc/celery", "files": files, "processes": [["worker", "default"]], "connect": True}
    command = f"cd /ledger && printf %s '{json.dumps(asked)}' | celerykit check --candidate"
    code, output = worker.container.exec_run(["sh", "-c", command])
    return code, str(output.decode())


@pytest.mark.slow
def test_jobs_survive_a_kill_of_the_worker_over_tls(broker: Broker, rig: Rig) -> None:
    """As without it."""
    test_survival.test_jobs_survive_a_kill_of_the_worker(broker, rig)


@pytest.mark.slow_with("redis", "pgmq")
def test_jobs_survive_a_restart_of_the_broker_over_tls(broker: Broker, rig: Rig) -> None:
    """While jobs are being sent, as without it."""
    test_survival.test_jobs_survive_the_broker_under_publishing(broker, rig, "restart")


@pytest.mark.slow_with("pgmq")
def test_a_server_that_is_another_is_refused(broker: Broker, rig: Rig) -> None:
    """By its authority or its name: a worker says why and waits, a deployment ends; of two hosts it takes the right."""
    trustme.CA().cert_pem.write_to_path(rig.ledger.folder / "stranger.pem")
    address = broker.server.address(rig.name)
    url = rig.broker_url
    elsewhere = f"{url.partition('@')[0]}@{address}:{url.rpartition(':')[2]}"
    rig.broker_url = f"{elsewhere};{url}"
    worker = rig.worker(CELERY_RESULT_BACKEND="UNSET")
    told = f"not valid for '{address}'", f'does not match host name "{address}"'
    assert any(words in worker.logs for words in told), "it tried the wrong one first"
    rig.broker_url = url
    stranger = rig.worker(ready=False, CELERYKIT_TLS_CA="/ledger/stranger.pem")
    rig.broker_url = elsewhere
    misled = rig.worker(ready=False)
    stranger.wait_log("Name the file with the certificate of the server's authority in CELERYKIT_TLS_CA")
    misled.wait_log("Write the host in the URL as its certificate names it")
    assert rig.password not in stranger.logs + misled.logs
    assert not stranger.probe("ready") and stranger.state["Status"] == misled.state["Status"] == "running"
    code, said = deployed(worker, url, "/ledger/stranger.pem")
    assert code == EX_CONFIG and "CELERY_BROKER_URL=" in said and "in CELERYKIT_TLS_CA" in said, said


def test_a_certificate_that_has_expired_is_refused_until_it_is_renewed(
    broker: Broker, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker says so, goes on trying, and is ready as soon as the server has another."""
    monkeypatch.setattr(certificates, "LIFETIME", timedelta(minutes=30))  # less than the hour that clocks may differ
    assert rig.authority
    rig.authority.issue("renew")
    broker.read_certificates()
    worker = rig.worker(ready=False)
    worker.wait_log("Renew the server's certificate, and let the server read it")
    monkeypatch.undo()
    rig.authority.issue("renew")
    broker.read_certificates()
    worker.wait_ready()
    assert worker.state["Status"] == "running" and not worker.container.attrs["RestartCount"]


@pytest.mark.parametrize("broker", [Redis, RabbitMQ], indirect=True, ids=["redis", "rabbitmq"])
def test_nobody_gets_in_without_tls_and_password(broker: Broker, rig: Rig) -> None:
    """Neither in the clear, nor by TLS without the password; a worker says what the server may want."""
    assert rig.authority
    by_tls = rig.client.app.conf.broker_url
    answers = {
        "without TLS": refusal(by_tls.replace("s://", "://"), rig),
        "without a password": refusal(by_tls.replace(f":{rig.password}@", "@"), rig),
        "a wrong password": refusal(by_tls.replace(rig.password, "wrong"), rig),
    }
    assert "losed" in answers["without TLS"] or "reset" in answers["without TLS"], answers
    for case in ("without a password", "a wrong password"):
        assert "WRONGPASS" in answers[case] or "invalid username" in answers[case] or "403" in answers[case], answers
    rig.broker_url = rig.broker_url.replace("s://", "://")
    worker = rig.worker(ready=False, CELERY_RESULT_BACKEND="UNSET")
    worker.wait_log("If TLS alone is spoken there, say rediss:// or amqps:// in the URL")


@pytest.mark.parametrize("broker", [PGMQ], indirect=True, ids=["pgmq"])
def test_postgresql_lets_nobody_in_without_tls(broker: Broker, rig: Rig) -> None:
    """It says so to a worker in the clear; jobs and their results go by TLS."""
    rig.worker()
    (job,) = rig.client.work(1, 0.1)
    until(lambda: rig.client.result(job).state == "SUCCESS", 30, "a result")
    for right, wrong, said in (
        ("verify-full", "disable", "no encryption"),
        (rig.password, "wrong", "password authentication failed"),
    ):
        with pytest.raises(psycopg.OperationalError, match=said):
            psycopg.connect(rig.client.url.replace("pgmq://", "postgresql://").replace(right, wrong))
    rig.broker_url += "?sslmode=disable"
    worker = rig.worker(ready=False)
    worker.wait_log("TLS alone is spoken there: name the file")
    assert worker.state["Status"] == "running"


def test_a_postgresql_without_tls_is_refused_where_an_authority_is_named(rig: Rig) -> None:
    """Nothing is said in the clear, of jobs or results, but by whoever asks for that."""
    rig.pgmq()
    trustme.CA().cert_pem.write_to_path(rig.ledger.folder / "ca.pem")
    in_the_clear = rig.broker_url + "?sslmode=disable"
    worker = rig.worker(
        CELERY_BROKER_URL=in_the_clear, CELERY_RESULT_BACKEND="UNSET", CELERYKIT_TLS_CA="/ledger/ca.pem"
    )
    code, said = deployed(worker, rig.broker_url, "/ledger/ca.pem", CELERY_RESULT_BACKEND=rig.result_backend)
    assert code == EX_CONFIG and said.count("No TLS is spoken there") == 2, said
    assert "CELERY_BROKER_URL=" in said and "CELERY_RESULT_BACKEND=" in said and rig.password not in said


def refusal(url: str, rig: Rig) -> str:
    """Return with what a client outside ends."""
    app: Any = Celery("stranger", broker=url, set_as_current=False)
    if url.startswith(("rediss", "amqps")) and rig.authority:
        rig.authority.trust(app)
    with app.connection_for_read() as connection, pytest.raises(Exception, match=r".") as caught:
        connection.ensure_connection(max_retries=1, interval_start=0)
    return str(caught.value)
