"""Brokers on hosts that speak TLS alone: who does not trust one, and what a new certificate does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from tests.rig.managers import POSTGRESQL, RABBITMQ
from tests.rig.playing import play

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.hosts import Host

TAGS = {RABBITMQ: "rabbitmq", POSTGRESQL: "postgresql"}
SHOWS = {
    RABBITMQ: "python3 -c 'import ssl; print(ssl.get_server_certificate((\"127.0.0.1\", 5671)))'",
    POSTGRESQL: "openssl s_client -connect 127.0.0.1:5432 -starttls postgres </dev/null 2>/dev/null "
    "| openssl x509 -serial -noout",
}
"""The command that tells a broker's certificate from another one."""
REFUSALS = {
    RABBITMQ: ("CERTIFICATE_VERIFY_FAILED",),
    # There are results in it, too.
    POSTGRESQL: ("certificate verify failed", "CELERY_BROKER_URL=", "CELERYKIT_RESULT_BACKEND="),
}


@pytest.mark.inits("rabbitmq", slowly=("postgresql",))
def test_a_host_that_does_not_trust_the_server_is_refused(site: Host, tmp_path: Path) -> None:
    """The deployment ends with the reason and the remedy, for jobs and results, and what runs is left alone."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    before = site.pid("default")
    done = site.deploy("--tags", "configure", celery_tls_ca=str(tmp_path / "stranger.pem"))
    assert done.code != 0
    said = done.refusal()
    assert all(words in said for words in (*REFUSALS[site.broker], "in CELERYKIT_TLS_CA")), said
    assert site.password not in done.text and site.pid("default") == before


@pytest.mark.inits("rabbitmq", "postgresql")
def test_a_new_certificate_restarts_nothing_and_loses_no_job(site: Host) -> None:
    """The server shows it to whoever comes next, while jobs run."""
    show = SHOWS[site.broker]
    before, server, shown = site.pid("default"), site.broker_pid(), site.sh(show)
    site.client.work(12, 1.0)
    site.wait_running()
    told = ("--tags", TAGS[site.broker])
    done = play(site.inventory({"host": {}}), site.folder, *told, playbook="playbooks/rotate-certificates.yml")
    assert done.code == 0, done.text
    site.assert_nothing_lost()
    assert (site.pid("default"), site.broker_pid()) == (before, server)
    assert site.sh(show) != shown and site.client.ping()
