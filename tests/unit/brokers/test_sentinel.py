"""What the kit fills in where jobs and results are behind Sentinel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trustme
from celery import Celery
from redis import SSLConnection

import celerykit

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = "sentinel://celery:p%40ss@10.0.0.1:26379/0;sentinel://celery:p%40ss@10.0.0.2:26379/0"
BY_TLS = PLAIN.replace("/0", "/0?ssl_cert_reqs=required")


def made(url: str, **conf: Any) -> Celery:
    """Return an app whose jobs and results are there, with the kit's layer."""
    app = Celery("any", broker=url, backend=url, set_as_current=False)
    app.conf.update(conf)
    celerykit.configure(app)
    return app


def test_sentinel_is_asked_for_the_master_as_the_user_of_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable does it, for jobs and for results, within the patience that there is with a server."""
    monkeypatch.setenv("CELERYKIT_SENTINEL_MASTER", "jobs")
    app = made(PLAIN)
    for told in (app.conf.broker_transport_options, app.conf.result_backend_transport_options):
        assert told["master_name"] == "jobs"
        assert told["sentinel_kwargs"]["username"] == "celery"
        assert told["sentinel_kwargs"]["password"] == "p@ss"
        assert told["sentinel_kwargs"]["socket_timeout"] == 10.0
        assert "ssl" not in told["sentinel_kwargs"]


def test_an_app_s_own_word_on_sentinel_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """As over every default; and without the variable nothing is said."""
    own = {"broker_transport_options": {"master_name": "mine"}}
    assert "master_name" not in made(PLAIN).conf.broker_transport_options
    assert not made(PLAIN).conf.result_backend_transport_options
    monkeypatch.setenv("CELERYKIT_SENTINEL_MASTER", "jobs")
    assert made(PLAIN, **own).conf.broker_transport_options["master_name"] == "mine"
    assert "master_name" not in made("redis://h/0").conf.broker_transport_options


def test_sentinel_is_asked_by_tls_where_the_servers_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its certificate is checked as theirs is, against the same authority."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("CELERYKIT_SENTINEL_MASTER", "jobs")
    monkeypatch.setenv("CELERYKIT_TLS_CA", str(tmp_path / "ca.pem"))
    app = made(BY_TLS)
    checked = {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": str(tmp_path / "ca.pem")}
    for told in (app.conf.broker_transport_options, app.conf.result_backend_transport_options):
        assert told["sentinel_kwargs"].items() >= {"ssl": True, **checked}.items()
    assert app.connection_for_read().ssl["ssl_ca_certs"] == str(tmp_path / "ca.pem")
    assert issubclass(app.backend.connparams["connection_class"], SSLConnection)
    assert app.backend.connparams["ssl_ca_certs"] == str(tmp_path / "ca.pem")
