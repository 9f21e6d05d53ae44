"""The dialect of env files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celerykit.config import envfile
from celerykit.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def refused(text: str) -> str:
    """Return the message with which ``text`` is refused."""
    with pytest.raises(ConfigurationError) as caught:
        envfile.parse(text, "/etc/celery/celery.env")
    return str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "4",
        "redis://celery:p%40ss@redis:6379/0",
        "amqp://u:p@[::1]:5672//",
        "a=b,c=d",
        "~/jobs",
        "x?y+z-_.",
    ],
)
def test_plain_values_are_taken_as_they_stand(value: str) -> None:
    """A value within the dialect reaches the process byte for byte."""
    assert [(line.name, line.value) for line in envfile.parse(f"A_1={value}", "f")] == [("A_1", value)]


def test_comments_and_empty_lines_are_skipped_and_lines_counted() -> None:
    """A value's source names its file and the line that an editor shows."""
    (line,) = envfile.parse("# workers\n\n  # indented\nA=1\n", "/etc/celery/celery.env")
    assert line.source == "/etc/celery/celery.env:4"


@pytest.mark.parametrize(
    "value", ['"quoted"', "two words", "pa$$word", "a#b", "it's", "a\\b", '{"a":1}', "ü", "a\tb", " a"]
)
def test_values_that_readers_understand_differently_are_refused(value: str) -> None:
    """A value that systemd, sh, docker and compose read differently is refused, not guessed at."""
    assert "is read differently by systemd, sh, docker and compose" in refused(f"A={value}")


@pytest.mark.parametrize("char", [";", "&"])
def test_semicolon_and_ampersand_have_the_file_form_as_remedy(char: str) -> None:
    """Failover URLs and query strings, which a shell would cut, go into a file that NAME_FILE names."""
    message = refused(f"CELERY_BROKER_URL=redis://a/0{char}redis://b/0")
    assert f"{char!r} is read differently" in message
    assert "put the value in a file and name the file in CELERY_BROKER_URL_FILE" in message


def test_a_refused_character_is_shown_in_its_url_encoded_form() -> None:
    """Who has such a password is told how to write it."""
    assert "URL-encode it (%23 in a URL)" in refused("CELERY_BROKER_URL=redis://:pa#ss@redis/0")
    assert "URL-encode it (%C3%BC in a URL)" in refused("CELERY_BROKER_URL=redis://:süß@redis/0")


@pytest.mark.parametrize("line", ["export A=1", "A = 1", "A", "1A=2", "A-B=1", " A=1"])
def test_lines_that_are_no_assignment_are_refused(line: str) -> None:
    """What is not KEY=value is refused with its file, its number and how to write it."""
    message = refused(f"# first\n{line}")
    assert "(/etc/celery/celery.env:2): not a KEY=value line" in message
    assert "no 'export' and no spaces around '='" in message


def test_every_bad_line_is_reported_at_once() -> None:
    """Nobody mends a file one line at a time."""
    message = refused("A=a b\nB=1\nC=c d")
    assert [f":{number})" in message for number in (1, 2, 3)] == [True, False, True]


def test_a_file_with_the_line_ends_of_windows_is_refused(tmp_path: Path) -> None:
    """A carriage return, which a shell would make part of the value, is named as what it is."""
    path = tmp_path / "celery.env"
    path.write_bytes(b"CELERY_APP=proj\r\n")
    with pytest.raises(ConfigurationError, match=r"celery\.env:1.*Unix line ends"):
        envfile.read(path)


@pytest.mark.parametrize(
    "line",
    [
        "CELERY_BROKER_URL=redis://celery:hunter2@redis/0 ",
        "CELERY_BROKER_URL = redis://celery:hunter2@redis/0",
        "export CELERY_BROKER_URL=redis://celery:hunter2@redis/0",
        "CELERY_BROKER_URL: redis://celery:hunter2@redis/0",
        "FLOWER_BASIC_AUTH=admin:hunter2;",
        "FLOWER_BASIC_AUTH = admin:hunter2",
        "export MY_API_KEY=hunter2",
        "PASSWORD: hunter2",
    ],
)
def test_no_message_shows_a_secret(line: str) -> None:
    """A log that quotes a bad line does not publish the password in it."""
    assert "hunter2" not in refused(line)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("CELERY_BROKER_URL", "redis://u:p@h:6379/0", "redis://u:***@h:6379/0"),
        ("CELERY_BROKER_URL", "redis://:p@h/0", "redis://:***@h/0"),
        ("CELERY_BROKER_URL", "amqp://u:p@ss@h//", "amqp://u:***@h//"),
        ("CELERY_RESULT_BACKEND", "db+postgresql://u:p/q@h/d", "db+postgresql://u:***@h/d"),
        ("CELERY_BROKER_URL", "redis://h:6379/0", "redis://h:6379/0"),
        ("FLOWER_BASIC_AUTH", "a:b", "***"),
        ("FLOWER_OAUTH2_SECRET", "x", "***"),
        ("API_TOKEN", "x", "***"),
        ("API_TOKEN", "", ""),
        ("CELERY_WORKER_QUEUES", "authors,mail", "authors,mail"),
    ],
)
def test_values_are_shown_without_their_secrets(name: str, value: str, shown: str) -> None:
    """What is printed tells hosts and users, and no password."""
    assert envfile.mask(name, value) == shown


def test_what_is_rendered_is_read_back_the_same() -> None:
    """A file that the kit writes says to every reader what was meant."""
    values = {"CELERY_APP": "proj", "CELERY_BROKER_URL": "redis://u:p%40@h:6379/0", "EMPTY": "", "A": "b=c"}
    assert {line.name: line.value for line in envfile.parse(envfile.render(values), "f")} == values


@pytest.mark.parametrize(
    "values",
    [{"A": "a b"}, {"A": "1\nB=2"}, {"A": "1\n"}, {"A": "1\n# 2"}, {"A=B": "c"}, {"#A": "1"}, {"A B": "1"}],
)
def test_what_cannot_be_said_in_the_dialect_is_not_rendered(values: dict[str, str]) -> None:
    """No value is cut, joined or turned into another variable on its way into a file."""
    with pytest.raises(ConfigurationError):
        envfile.render(values)


def test_a_rendering_error_shows_no_secret() -> None:
    """A password that does not fit into a file is not printed instead."""
    with pytest.raises(ConfigurationError) as caught:
        envfile.render({"CELERY_BROKER_URL": "redis://:hunter2@h/0\n", "FLOWER_BASIC_AUTH": "a:hunter2"})
    assert "CELERY_BROKER_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    """A file that is no text is reported by its path."""
    path = tmp_path / "celery.env"
    path.write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigurationError, match=r"celery\.env.*cannot be read.*UTF-8"):
        envfile.read(path)
