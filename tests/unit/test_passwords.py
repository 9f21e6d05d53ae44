"""The passwords of the stack: made once, seen by their readers alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from celerykit import passwords


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The volumes of a stack before its first start."""
    for reader in ("celery", "flower", "postgresql", "rabbitmq", "redis"):
        (tmp_path / reader).mkdir()
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    """Return what every file holds."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_second_start_changes_nothing(folder: Path) -> None:
    """Passwords that somebody uses stay what they are."""
    assert len(passwords.write(folder)) == 5
    before = contents(folder)
    assert passwords.write(folder) == []
    assert contents(folder) == before


def test_no_two_stacks_have_the_same_passwords(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each first start makes its own."""
    other = tmp_path_factory.mktemp("other")
    for reader in ("celery", "flower", "postgresql", "rabbitmq", "redis"):
        (other / reader).mkdir()
    passwords.write(folder)
    passwords.write(other)
    assert all(contents(folder)[name] != text for name, text in contents(other).items())


def test_redis_knows_the_password_of_the_url_by_its_hash_alone(folder: Path) -> None:
    """Who reads the server's users gets no password of Celery's."""
    passwords.write(folder)
    password = urlsplit(contents(folder)[passwords.BROKER_URL]).password
    assert password is not None
    assert password not in contents(folder)[passwords.USERS]
    assert f"#{hashlib.sha256(password.encode()).hexdigest()}" in contents(folder)[passwords.USERS]


def test_nobody_else_may_read_them(folder: Path) -> None:
    """Files are for their owner, and for the group of the service that reads them."""
    assert {path.stat().st_mode & 0o777 for path in passwords.write(folder)} == {0o640}


def test_the_default_user_is_off_but_may_do_all(folder: Path) -> None:
    """Redis is that user while it reads its append-only file: with fewer rights it would drop transactions."""
    passwords.write(folder)
    assert contents(folder)[passwords.USERS].startswith("user default off resetpass ~* &* +@all\n")


@pytest.mark.parametrize("command", ["acl", "config", "debug", "eval", "flushall", "flushdb", "keys", "shutdown"])
def test_dangerous_commands_are_not_among_celerys(command: str) -> None:
    """What could read or change the server itself is refused to workers."""
    celery = passwords.users("password", "health").splitlines()[1].split()
    assert celery[:7] == ["user", "celery", "on", f"#{hashlib.sha256(b'password').hexdigest()}", "~*", "&*", "-@all"]
    assert all(word.startswith("+") and not word.startswith("+@") for word in celery[7:])
    assert command not in {word[1:].partition("|")[0] for word in celery[7:]}


def test_lost_users_are_written_again_for_the_same_password(folder: Path) -> None:
    """They follow from the passwords, so a volume of Redis that is gone locks nobody out."""
    passwords.write(folder)
    before = contents(folder)
    (folder / passwords.USERS).unlink()
    assert passwords.write(folder) == [folder / passwords.USERS]
    assert contents(folder) == before


def test_rabbitmq_s_are_made_where_it_is_asked_for(folder: Path) -> None:
    """Beside those of Redis, and they stay; a changed rule changes the server's file alone."""
    passwords.write(folder)
    made = passwords.write(folder, queues=["celery"])
    assert {path.name for path in made} == {
        "rabbitmq-worker-url",
        "rabbitmq-producer-url",
        "operator.conf",
        "definitions.json",
    }
    assert passwords.write(folder, queues=["celery"]) == []
    assert passwords.write(folder, queues=["celery", "reports"]) == [folder / passwords.DEFINITIONS]


def test_postgresql_knows_a_verifier_by_which_nobody_logs_in(folder: Path) -> None:
    """The URLs of broker and results have the one password; what the server is told proves it, and does not hold it."""
    passwords.write(folder, postgresql=True)
    made = contents(folder)
    urls = [urlsplit(made[name]) for name in passwords.POSTGRESQL_URLS]
    (password,) = {url.password or "" for url in urls}
    assert [url.scheme for url in urls] == ["db+postgresql+psycopg", "pgmq"]
    users = made[passwords.POSTGRESQL_USERS]
    assert password not in users
    # RFC 7677: the server keeps a hash of the client's key, and its own key.
    iterations, salt, stored, server = re.search(r"SCRAM-SHA-256\$(\d+):(.*?)\$(.*?):(.*?)'", users).groups()
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    keys = [hmac.new(salted, name, hashlib.sha256).digest() for name in (b"Client Key", b"Server Key")]
    assert base64.b64decode(stored) == hashlib.sha256(keys[0]).digest()
    assert base64.b64decode(server) == keys[1]


def test_postgresql_can_come_later(folder: Path) -> None:
    """A stack that has run without it keeps its passwords, and from then on PostgreSQL's, too."""
    before = {str(path.relative_to(folder)) for path in passwords.write(folder)}
    added = {str(path.relative_to(folder)) for path in passwords.write(folder, postgresql=True)}
    assert added == {*passwords.POSTGRESQL_URLS, passwords.POSTGRESQL_USERS} and not added & before
    assert passwords.write(folder, postgresql=True) == []


def test_urls_are_of_tls_where_an_authority_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable turns every link to TLS and back, and the passwords stay."""
    passwords.write(folder, queues=["celery"])
    plain = contents(folder)
    trustme.CA().cert_pem.write_to_path(folder / "ca.pem")
    monkeypatch.setenv("CELERYKIT_TLS_CA", str(folder / "ca.pem"))
    passwords.write(folder, queues=["celery"])
    for name in (passwords.BROKER_URL, passwords.RESULT_BACKEND, *passwords.RABBITMQ_URLS.values()):
        before, now = urlsplit(plain[name]), urlsplit((folder / name).read_text())
        assert (now.scheme, now.password) == (f"{before.scheme}s", before.password)
        assert now.port == (5671 if now.scheme == "amqps" else 6379)
    assert (folder / passwords.USERS).read_text() == plain[passwords.USERS]
    monkeypatch.delenv("CELERYKIT_TLS_CA")
    passwords.write(folder, queues=["celery"])
    assert plain.items() <= contents(folder).items()
