"""TLS to brokers and result backends: what is checked, what an app may say, and what is said of mistakes."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from celery import Celery
from kombu.exceptions import OperationalError

import celerykit
from celerykit.brokers import tls
from celerykit.checks import connectivity
from tests.rig.since import since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.conftest import Run

    Listen = Callable[..., int]

LONG_AGO = {"not_before": datetime.datetime(2020, 1, 1), "not_after": datetime.datetime(2021, 1, 1)}


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Whom the kit's processes are told to trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("CELERYKIT_TLS_CA", str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Return a function that starts a server which shakes hands, or speaks no TLS, and ends."""
    sockets = []

    def start(own: trustme.LeafCert | None, host: str = "127.0.0.1") -> int:
        listening = socket.create_server((host, 0))
        sockets.append(listening)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if own:
            own.configure_cert(context)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                    if own:
                        connection = context.wrap_socket(connection, server_side=True)
                    elif connection.recv(65536):
                        connection.sendall(b"AMQP\0\0\x09\x01")  # as RabbitMQ answers what it does not know
                    connection.close()
                except OSError:
                    if listening.fileno() < 0:
                        return

        threading.Thread(target=serve, daemon=True).start()
        return int(listening.getsockname()[1])

    yield start
    for item in sockets:
        item.close()


def made(broker: str, backend: str | None = None, **conf: Any) -> Celery:
    """Return an app with the kit's layer."""
    app = Celery("made", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(conf)
    celerykit.configure(app)
    return app


def reason(url: str, **conf: Any) -> str:
    """Return with what an app's connection to a broker ends."""
    return refusals(made(url, **conf).connection_for_read(), 1)[-1]


def refusals(connection: Any, attempts: int) -> list[str]:
    """Return with what each attempt of a connection ends, at several hosts in turn."""
    said: list[str] = []
    with connection, pytest.raises(OperationalError):
        connection.ensure_connection(lambda exc, _: said.append(str(exc)), attempts, interval_start=0, interval_step=0)
    return said


@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
def test_a_server_that_nobody_vouches_for_is_refused(listen: Listen, scheme: str, authority: trustme.CA) -> None:
    """With no option said: another authority's certificate is not enough, and the message says where to name one."""
    said = reason(f"{scheme}://u:secret@127.0.0.1:{listen(trustme.CA().issue_cert('127.0.0.1'))}/0")
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert "in CELERYKIT_TLS_CA" in said
    assert "secret" not in said


@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
@pytest.mark.parametrize(
    ("name", "dates", "text"),
    [("elsewhere", {}, "Write the host in the URL as its certificate names it"), ("127.0.0.1", LONG_AGO, "Renew")],
)
def test_a_wrong_name_and_an_expired_certificate_are_refused(
    listen: Listen, scheme: str, authority: trustme.CA, name: str, dates: dict[str, Any], text: str
) -> None:
    """Each with what to do about it; where the app itself names the authority, too."""
    url = f"{scheme}://127.0.0.1:{listen(authority.issue_cert(name, **dates))}/0"
    assert text in reason(url)
    option = "ca_certs" if scheme == "amqps" else "ssl_ca_certs"
    assert text in reason(url, broker_use_ssl={option: os.environ["CELERYKIT_TLS_CA"]})


def test_each_of_several_hosts_has_to_have_its_own_name(listen: Listen, authority: trustme.CA) -> None:
    """Kombu holds the second host to the first one's name: it refused the right one, and believed the wrong one."""
    first = f"amqps://127.0.0.1:{listen(authority.issue_cert('127.0.0.1'))}//"
    right = f"amqps://127.0.0.2:{listen(authority.issue_cert('127.0.0.2'), '127.0.0.2')}//"
    wrong = f"amqps://127.0.0.2:{listen(authority.issue_cert('127.0.0.1'), '127.0.0.2')}//"
    for second, refused in ((right, False), (wrong, True)):
        connection = made(f"{first};{second}").connection_for_read()
        said = [*refusals(connection, 2), *refusals(connection.clone(), 4)]  # as pools have them
        mismatches = [text for text in said if "not valid for" in text]
        assert bool(mismatches) == refused, said
        assert all("'127.0.0.2'" in text for text in mismatches), said


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("amqps://127.0.0.1:{plain}//", "No TLS is spoken there"),
        ("rediss://127.0.0.1:{plain}/0", "No TLS is spoken there"),
        ("amqp://127.0.0.1:{tls}//", "say rediss:// or amqps://"),
        ("redis://127.0.0.1:{tls}/0", "say rediss:// or amqps://"),
    ],
)
def test_tls_without_tls_is_said(listen: Listen, authority: trustme.CA, url: str, text: str) -> None:
    """A port that speaks the other language ends the connection without a word; the message says what may be meant."""
    assert text in reason(url.format(plain=listen(None), tls=listen(authority.issue_cert("127.0.0.1"))))


def test_options_of_the_app_and_of_the_url_win_key_by_key(authority: trustme.CA, tmp_path: Path) -> None:
    """What they leave out is filled in, so that one option of its own costs an app no check."""
    theirs = tls.options("rediss", {"ssl_ca_certs": "/own.pem"})
    assert theirs == {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": "/own.pem"}
    theirs = tls.options("amqps", {"ca_certs": "/own.pem"})
    assert theirs == {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None, "ca_certs": "/own.pem"}
    assert tls.options("amqp", True)["ca_certs"] == str(tmp_path / "ca.pem")
    assert tls.options("amqps", {"context": {"cafile": "/own.pem"}}) == {"context": {"cafile": "/own.pem"}}
    assert tls.options("amqps", {"cert_reqs": ssl.CERT_NONE}) == {
        "cert_reqs": ssl.CERT_NONE,
        "ca_certs": str(tmp_path / "ca.pem"),
    }
    app = made("sentinel://h/0?ssl_cert_reqs=required")
    assert app.connection_for_read().ssl["ssl_ca_certs"] == str(tmp_path / "ca.pem")


@since("pgmq")
def test_a_client_of_postgresql_checks_the_server_where_an_authority_is_named(
    authority: trustme.CA, tmp_path: Path
) -> None:
    """As broker and for results, by either client; what URL and app say goes before it."""
    full = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "ca.pem")}
    assert made("pgmq://h/celery").connection_for_read().ssl == full
    theirs = made("pgmq://h/celery?sslmode=verify-full&sslrootcert=/own.pem").connection_for_read().ssl
    assert theirs == {"sslmode": "verify-full", "sslrootcert": "/own.pem"}
    assert made("pgmq://h/celery?sslmode=disable").connection_for_read().ssl == {"sslmode": "disable"}
    assert made("pgmq://h/celery", broker_use_ssl=True).connection_for_read().ssl == full
    for url in (
        "db+postgresql+psycopg://h/celery?connect_timeout=5",
        "db+postgresql+psycopg2://h/c",
        "db+postgresql://h/c",
    ):
        told = made("memory://", url, database_engine_options={"connect_args": {"connect_timeout": 3}}).backend
        assert told.engine_options["connect_args"] == {"connect_timeout": 3, **full}
        assert told.engine_options["pool_pre_ping"] is True
    for url in ("db+postgresql+psycopg://h/c?sslmode=require", "db+postgresql+pg8000://h/c", "db+mysql://h/c"):
        assert "connect_args" not in made("memory://", url).backend.engine_options


@since("pgmq")
@pytest.mark.parametrize(
    ("conf", "variable"),
    [
        ({"broker_url": "pgmq://h/celery?sslmode=require"}, "broker_use_ssl=sslmode=require"),
        (
            {"broker_url": "pgmq://h/celery", "broker_use_ssl": {"sslmode": "verify-ca"}},
            "broker_use_ssl=sslmode=verify-ca",
        ),
        ({"result_backend": "db+postgresql://h/c?sslmode=require"}, "database_engine_options=sslmode=require"),
        ({"broker_url": "pgmq://h/celery", "result_backend": "db+postgresql://h/c"}, ""),
    ],
)
def test_a_client_of_postgresql_that_believes_anybody_is_named(
    authority: trustme.CA, conf: dict[str, Any], variable: str
) -> None:
    """It encrypts what it says, and somebody else may read it."""
    said = [str(finding) for finding in tls.unchecked(made("memory://", **conf), "app")]
    assert [text.split(" ")[0] for text in said] == [variable] * bool(variable)


@pytest.mark.parametrize("url", ["redis://h/0", "amqp://h//", "sentinel://h/0", "memory://"])
def test_without_tls_nothing_is_told(url: str, authority: trustme.CA) -> None:
    """The authority's file alone switches nothing on."""
    assert not made(url).connection_for_read().ssl


def test_a_result_backend_checks_the_server_too(authority: trustme.CA, tmp_path: Path) -> None:
    """By its scheme alone, with what an app's own option leaves out; Celery would refuse to start."""
    expected = {"ssl_check_hostname": True, "ssl_ca_certs": str(tmp_path / "ca.pem")}
    for conf in ({}, {"redis_backend_use_ssl": {"ssl_check_hostname": True}}):
        parameters = made("memory://", "rediss://h/1", **conf).backend.connparams
        assert parameters["ssl_cert_reqs"] == ssl.CERT_REQUIRED
        assert {name: parameters[name] for name in expected} == expected
    assert "ssl_ca_certs" not in made("memory://", "redis://h/1").backend.connparams


def test_a_deployment_says_what_is_wrong_with_a_certificate(listen: Listen, authority: trustme.CA) -> None:
    """Of broker and result backend, with the variable and the remedy; the password is masked."""
    port = listen(authority.issue_cert("elsewhere"))
    app = made(f"rediss://u:secret@127.0.0.1:{port}/0", f"rediss://u:secret@127.0.0.1:{port}/1")
    findings = list(connectivity.refusals(app, {}))
    assert [finding.variable for finding in findings] == ["CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"]
    for finding in findings:
        assert "not valid for '127.0.0.1'" in finding.problem
        assert "***@127.0.0.1" in finding.value
        assert str(finding).count("Write the host in the URL") == 1


def test_a_start_without_checks_is_warned_of(celerykit: Run) -> None:
    """An app may want that, and starts; who starts it is told."""
    answer = celerykit("beat", CELERY_APP="unchecked", CELERY_BEAT_SCHEDULE="/no/such/folder/schedule")
    assert "warning: broker_use_ssl=ssl_cert_reqs=CERT_NONE (app unchecked): the certificate" in answer.stderr
    assert "Leave broker_use_ssl and the URL's ssl_* out" in answer.stderr
