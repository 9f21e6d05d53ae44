"""The kit's own settings."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
import trustme

from celerykit.config import settings
from celerykit.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def refused(**environ: str) -> list[str]:
    """Return the messages with which the values are refused."""
    with pytest.raises(ConfigurationError) as caught:
        settings.from_environment(environ, dict.fromkeys(environ, "/etc/celery/celery.env:3"))
    return [str(finding) for finding in caught.value.findings]


def test_nothing_said_means_the_defaults() -> None:
    """A stop of ten minutes, jobs of an hour, at-least-once, five deliveries, stuck after a minute."""
    own = settings.from_environment({})
    facts = (own.stop_timeout, own.longest_job, own.delivery, own.max_deliveries, own.stuck_after)
    assert facts == (600.0, None, "at-least-once", 5, 60.0)


def test_every_setting_is_read_from_its_variable(tmp_path: Path) -> None:
    """CELERYKIT_ and the name in capitals, for each of them."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    own = settings.from_environment(
        {
            "CELERYKIT_STOP_TIMEOUT": "30",
            "CELERYKIT_LONGEST_JOB": "7.5",
            "CELERYKIT_DELIVERY": "at-most-once",
            "CELERYKIT_MAX_DELIVERIES": "2",
            "CELERYKIT_STUCK_AFTER": "10",
            "CELERYKIT_START_WITHIN": "90",
            "CELERYKIT_REDIS_TRANSPORT": "stock",
            "CELERYKIT_TUNE": "force",
            "CELERYKIT_POOL_KINDS": "threads,prefork",
            "CELERYKIT_WEIGHT": "2.5",
            "CELERYKIT_TLS_CA": str(tmp_path / "ca.pem"),
            "CELERYKIT_APP_ENV_FILE": "/srv/app.env",
            "CELERYKIT_RESULT_BACKEND": "redis://results/1",
            "CELERYKIT_SENTINEL_MASTER": "jobs",
            "CELERYKIT_STATE_DIR": "/srv/state",
        }
    )
    tuned = ("force", ("threads", "prefork"), 2.5)
    files = (str(tmp_path / "ca.pem"), "/srv/app.env", "redis://results/1", "jobs", "/srv/state")
    assert own == settings.Settings(30.0, 7.5, "at-most-once", 2, 10.0, 90.0, "stock", *tuned, *files)


@pytest.mark.parametrize("name", ["CELERYKIT_STOP_TIMEOUT", "CELERYKIT_LONGEST_JOB", "CELERYKIT_STUCK_AFTER"])
@pytest.mark.parametrize("value", ["0", "-1", "10m", "1e3", "inf", "nan", "1.2.3", ".", " 5", "²"])
def test_what_is_no_time_is_refused(name: str, value: str) -> None:
    """A time is a positive number of seconds, and nothing is guessed from anything else."""
    (message,) = refused(**{name: value})
    assert message.startswith(f"{name}={value} (/etc/celery/celery.env:3): not a positive number of seconds. ")
    assert "The default is" in message or "leave the variable out" in message


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "²"])
def test_what_is_no_count_is_refused(value: str) -> None:
    """At least one delivery, in whole numbers."""
    (message,) = refused(CELERYKIT_MAX_DELIVERIES=value)
    assert message.startswith(f"CELERYKIT_MAX_DELIVERIES={value} (/etc/celery/celery.env:3): ")


@pytest.mark.parametrize(("text", "problem"), [(None, "No such file"), ("no certificate\n", "no certificates can be")])
def test_an_authority_s_file_that_holds_none_is_refused(tmp_path: Path, text: str | None, problem: str) -> None:
    """Before a connection fails for a reason that nobody understands."""
    if text:
        (tmp_path / "ca.pem").write_text(text)
    (message,) = refused(CELERYKIT_TLS_CA=str(tmp_path / "ca.pem"))
    assert message.startswith(f"CELERYKIT_TLS_CA={tmp_path}/ca.pem (/etc/celery/celery.env:3): ")
    assert problem in message and message.endswith("Mend it, or leave the variable out.")


def test_an_unknown_transport_is_refused() -> None:
    """There are two, and the message names both."""
    (message,) = refused(CELERYKIT_REDIS_TRANSPORT="none")
    assert "neither kit nor stock" in message


def test_an_unknown_delivery_promise_is_refused() -> None:
    """Exactly-once is not on offer, and saying so beats promising it."""
    (message,) = refused(CELERYKIT_DELIVERY="exactly-once")
    assert "neither at-least-once nor at-most-once" in message


def test_every_unfit_value_is_named_at_once() -> None:
    """Nobody mends an environment one value at a time."""
    assert len(refused(CELERYKIT_STOP_TIMEOUT="x", CELERYKIT_LONGEST_JOB="y", CELERYKIT_MAX_DELIVERIES="z")) == 3


def test_an_empty_value_is_the_default() -> None:
    """Compose passes what the caller left out as empty."""
    environ = {settings.variable(item.name): "" for item in fields(settings.Settings)}
    assert settings.from_environment(environ) == settings.from_environment({})


def test_a_job_is_ended_before_it_would_run_twice() -> None:
    """The visibility timeout is the longest job and ten seconds."""
    assert settings.from_environment({"CELERYKIT_LONGEST_JOB": "20"}).visibility_timeout == 30.0


@pytest.mark.parametrize(
    ("stop_timeout", "drain"),
    [("600", 590.0), ("40", 30.0), ("20", 15.0), ("12", 9.0), ("8", 5.0), ("3", 0.0), ("1", 0.0)],
)
def test_a_stop_keeps_time_to_give_jobs_back(stop_timeout: str, drain: float) -> None:
    """A quarter of the budget, within 3 and 10 s, is left for giving back; a drain is never negative."""
    assert settings.from_environment({"CELERYKIT_STOP_TIMEOUT": stop_timeout}).drain == drain


def test_the_state_folder_is_the_unit_s_own() -> None:
    """Systemd's RUNTIME_DIRECTORY is taken, its first entry, and an explicit setting before it."""
    assert settings.from_environment({"RUNTIME_DIRECTORY": "/run/a:/run/b"}).state_dir == "/run/a"
    told = {"RUNTIME_DIRECTORY": "/run/a", "CELERYKIT_STATE_DIR": "/srv/s"}
    assert settings.from_environment(told).state_dir == "/srv/s"


def test_every_setting_is_a_known_name() -> None:
    """No setting of the kit is reported as misspelt."""
    assert {settings.variable(item.name) for item in fields(settings.Settings)} < settings.names()
