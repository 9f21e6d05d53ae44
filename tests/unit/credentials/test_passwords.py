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

from celerykit.credentials import passwords


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


@pytest.mark.parametrize(("file", "user"), [(passwords.BROKER_URL, "celery"), (passwords.RESULT_BACKEND, "results")])
def test_redis_knows_the_password_of_a_url_by_its_hash_alone(folder: Path, file: str, user: str) -> None:
    """Who reads the server's users gets no password of Celery's, and each URL has a user of its own."""
    passwords.write(folder)
    url, users = urlsplit(contents(folder)[file]), contents(folder)[passwords.USERS]
    assert url.username == user and url.password is not None
    assert url.password not in users
    assert f"user {user} on #{hashlib.sha256(url.password.encode()).hexdigest()} " in users


def test_results_get_their_user_where_the_broker_s_had_them(folder: Path) -> None:
    """A stack that was made so keeps its password for jobs, and gets another for results."""
    passwords.write(folder)
    made = contents(folder)
    broker = made[passwords.BROKER_URL]
    (folder / passwords.RESULT_BACKEND).write_text(broker.removesuffix("0") + "1")
    assert passwords.write(folder) == [folder / passwords.RESULT_BACKEND, folder / passwords.USERS]
    url = urlsplit(contents(folder)[passwords.RESULT_BACKEND])
    assert (url.username, url.path) == ("results", "/1") and url.password != urlsplit(broker).password
    assert contents(folder)[passwords.BROKER_URL] == broker
    assert passwords.write(folder) == []


def test_nobody_else_may_read_them(folder: Path) -> None:
    """Files are for their owner, and for the group of the service that reads them."""
    assert {path.stat().st_mode & 0o777 for path in passwords.write(folder)} == {0o640}


def test_the_default_user_is_off_but_may_do_all(folder: Path) -> None:
    """Redis is that user while it reads its append-only file: with fewer rights it would drop transactions."""
    passwords.write(folder)
    assert contents(folder)[passwords.USERS].startswith("user default off resetpass ~* &* +@all\n")


@pytest.mark.parametrize("user", ["celery", "results", "health"])
def test_a_user_has_a_list_of_commands_and_no_category(user: str) -> None:
    """What a later server learns is not allowed to anybody by that; what it may do to a server is tested on servers."""
    (words,) = (
        line.split() for line in passwords.users("a", "b", "c").splitlines() if line.startswith(f"user {user} ")
    )
    rules = [word for word in words if word.startswith(("+", "-", "%", "all"))]
    assert rules[0] == "-@all"
    assert all(re.fullmatch(r"\+[a-z|]+", word) for word in rules[1:])


def test_the_broker_s_user_has_every_key_but_results() -> None:
    """Redis has no pattern for what does not begin with a word: there is one for each way to differ from it."""
    words = ("celery-task-meta-", "celery-taskset-meta-")
    begun = {word[:length] for word in words for length in range(len(word))}
    after = {part: "".join(sorted({word[len(part)] for word in words if word.startswith(part)})) for part in begun}
    wanted = {f"~{part}[^{letters}]*" for part, letters in after.items()} | {f"~{part}" for part in begun if part}
    celery = passwords.users("a", "b", "c").splitlines()[1].split()
    assert {word for word in celery if word.startswith("~")} == wanted


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
