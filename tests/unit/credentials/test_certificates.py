"""The private authority of a stack and its servers' certificates, as clients see them."""

from __future__ import annotations

import datetime
import ssl
import stat
from typing import TYPE_CHECKING

import pytest
import trustme

from celerykit.credentials import certificates
from celerykit.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Run

SERVERS = {"redis": ["web1.example", "10.0.0.5"], "flower": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The volumes of a stack before its first start."""
    for name in ("authority", "celery", *SERVERS):
        (tmp_path / name).mkdir()
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    """Return what every file holds."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def trusts(folder: Path, host: str, server: str = "redis", *, trusted: Path | None = None) -> bool:
    """Shake hands as a client that is as strict as Python 3.13's, and a server of the stack."""
    ours = ssl.create_default_context(cafile=trusted or folder / "celery" / "ca.pem")
    ours.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(folder / server / "server.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(to_client, to_server, server_hostname=host)
    listener = theirs.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, listener, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return True


def test_a_second_run_changes_nothing(folder: Path) -> None:
    """Certificates that somebody uses stay what they are."""
    assert len(certificates.write(folder, SERVERS)) == 7
    before = contents(folder)
    assert certificates.write(folder, SERVERS) == []
    assert contents(folder) == before


def test_servers_are_believed_by_their_names_alone(folder: Path) -> None:
    """Their own, those that they are called besides, and from inside; not that of another server."""
    certificates.write(folder, SERVERS)
    for host in ("redis", "web1.example", "10.0.0.5", "localhost", "127.0.0.1", "::1"):
        assert trusts(folder, host), host
    assert not trusts(folder, "flower")
    assert trusts(folder, "flower", "flower")


def test_the_authority_s_key_is_in_its_own_folder_alone(folder: Path) -> None:
    """Where nobody but its maker reads it; who has a server's key can sign nothing."""
    certificates.write(folder, SERVERS)
    assert stat.S_IMODE((folder / certificates.AUTHORITY).stat().st_mode) == 0o600
    holders = {name for name, text in contents(folder).items() if "PRIVATE KEY" in text}
    assert holders == {certificates.AUTHORITY, "redis/server.pem", "flower/server.pem"}
    assert stat.S_IMODE((folder / "redis" / "server.pem").stat().st_mode) == 0o640


def test_a_new_certificate_costs_clients_nothing(folder: Path) -> None:
    """It is by the authority that they have; the key is new, too."""
    certificates.write(folder, SERVERS)
    before = contents(folder)
    written = certificates.write(folder, SERVERS, "renew")
    assert written == [folder / "redis" / "server.pem", folder / "flower" / "server.pem"]
    assert before["redis/server.pem"].split("END")[0] != (folder / "redis" / "server.pem").read_text().split("END")[0]
    assert trusts(folder, "redis")


def test_a_new_authority_shuts_nobody_out(folder: Path, tmp_path: Path) -> None:
    """Both are trusted at first, so that old certificates count until new ones are made."""
    certificates.write(folder, SERVERS)
    old = tmp_path / "old.pem"
    old.write_text((folder / "celery" / "ca.pem").read_text())
    certificates.write(folder, SERVERS, "authority")
    assert trusts(folder, "redis") and trusts(folder, "redis", trusted=old), "still the old certificate"
    certificates.write(folder, SERVERS, "renew")
    assert trusts(folder, "redis") and not trusts(folder, "redis", trusted=old)
    assert (folder / "celery" / "ca.pem").read_text().count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("servers", [SERVERS, {**SERVERS, "redis": ["web2.example"]}])
def test_what_is_about_to_end_or_has_other_names_is_made_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, servers: dict[str, list[str]]
) -> None:
    """By any later run, without being told."""
    lifetime = datetime.timedelta(days=89 if servers == SERVERS else 91)
    monkeypatch.setattr(certificates, "LIFETIME", lifetime)
    certificates.write(folder, SERVERS)
    written = certificates.write(folder, servers)
    assert folder / "redis" / "server.pem" in written
    assert (folder / "flower" / "server.pem" in written) == (servers == SERVERS)


def test_an_operator_s_own_certificates_are_left_alone(folder: Path) -> None:
    """His authority is spread, and its key is not asked for; a certificate that is missing is named."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority" / "ca.pem")
    with pytest.raises(ConfigurationError, match=r"redis/server.pem\): there is no certificate"):
        certificates.write(folder, SERVERS)
    for server in SERVERS:
        authority.issue_cert(server).private_key_and_cert_chain_pem.write_to_path(folder / server / "server.pem")
    before = contents(folder)
    certificates.write(folder, SERVERS, "renew")
    assert before.items() <= contents(folder).items()
    assert trusts(folder, "redis") and not (folder / certificates.AUTHORITY).exists()


def test_the_command_says_what_it_has_written(folder: Path, celerykit: Run) -> None:
    """And that a second run has nothing to do."""
    command = ("certificates", "--folder", str(folder), "redis=web1.example,10.0.0.5", "flower")
    assert f"wrote {folder}/redis/server.pem" in celerykit(*command).stdout
    assert celerykit(*command).stdout == "every certificate is there: nothing to do\n"
    assert trusts(folder, "web1.example")
