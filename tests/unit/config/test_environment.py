"""Env files under the inherited environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celerykit.config import environment, option_names
from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from pathlib import Path


def resolve(etc: Path, process: str = "worker", pool: str = "default", **environ: str) -> environment.Environment:
    """Resolve what a process is told by the files in ``etc`` and by ``environ``."""
    return environment.resolve(process, {"CELERYKIT_CONFIG_DIR": str(etc), **environ}, pool)


def refused(etc: Path, process: str = "worker", pool: str = "default", **environ: str) -> str:
    """Return the message with which the process is refused."""
    with pytest.raises(ConfigurationError) as caught:
        resolve(etc, process, pool, **environ)
    return str(caught.value)


def misspelt(etc: Path, **environ: str) -> tuple[list[Finding], list[Finding]]:
    """Return the errors and warnings about unknown names."""
    return environment.unknown_names(resolve(etc, **environ))


def unfit(process: str = "worker", **values: str) -> list[str]:
    """Return the messages about values that Celery's options refuse."""
    told = environment.Environment(values, dict.fromkeys(values, "environment"))
    return [str(finding) for finding in environment.unfit_values(told, process)]


def test_a_pool_s_file_wins_over_the_shared_one_and_the_environment_over_both(etc: Path) -> None:
    """What is said closer to the process holds: celery.env, then worker-POOL.env, then the environment."""
    (etc / "celery.env").write_text("A=shared\nB=shared\nC=shared\n")
    (etc / "worker-mail.env").write_text("B=pool\nC=pool\n")
    told = resolve(etc, pool="mail", C="environment")
    assert [told.values[name] for name in "ABC"] == ["shared", "pool", "environment"]
    assert [told.sources[name] for name in "ABC"] == [
        f"{etc}/celery.env:1",
        f"{etc}/worker-mail.env:1",
        "environment",
    ]


def test_each_process_reads_its_own_file_only(etc: Path) -> None:
    """Beat reads beat.env and no pool's; Flower reads the shared file alone."""
    (etc / "celery.env").write_text("A=shared\n")
    (etc / "worker-default.env").write_text("A=worker\n")
    (etc / "beat.env").write_text("A=beat\n")
    told = {process: resolve(etc, process).values["A"] for process in ("worker", "beat", "flower")}
    assert told == {"worker": "worker", "beat": "beat", "flower": "shared"}


def test_an_empty_inherited_value_leaves_the_file_s(etc: Path) -> None:
    """Compose passes a variable that the caller left out as an empty one; it does not blank the file's."""
    (etc / "celery.env").write_text("CELERY_APP=proj\n")
    assert resolve(etc, CELERY_APP="").values["CELERY_APP"] == "proj"


def test_the_environment_alone_is_enough(tmp_path: Path) -> None:
    """In a container without env files every pool name starts with what the environment says."""
    told = resolve(tmp_path / "none", pool="any", CELERY_APP="proj")
    assert told.values["CELERY_APP"] == "proj"


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path) -> None:
    """CELERY_BROKER_URL_FILE becomes CELERY_BROKER_URL, without the newline that editors add."""
    secret = tmp_path / "url"
    secret.write_text("redis://:p;w&x@h/0\n")
    told = resolve(tmp_path, CELERY_BROKER_URL_FILE=str(secret))
    assert told.values["CELERY_BROKER_URL"] == "redis://:p;w&x@h/0"
    assert "CELERY_BROKER_URL_FILE" not in told.values
    assert told.sources["CELERY_BROKER_URL"] == f"{secret}, named by CELERY_BROKER_URL_FILE (environment)"


def test_only_one_newline_is_not_part_of_a_secret(tmp_path: Path) -> None:
    """A password that ends in spaces or newlines can be said."""
    secret = tmp_path / "login"
    secret.write_text("a:b \n\n")
    assert resolve(tmp_path, FLOWER_BASIC_AUTH_FILE=str(secret)).values["FLOWER_BASIC_AUTH"] == "a:b \n"


def test_an_empty_file_variable_is_unset(tmp_path: Path) -> None:
    """A secret that the caller left out is no error."""
    told = resolve(tmp_path, CELERY_BROKER_URL_FILE="")
    assert "CELERY_BROKER_URL" not in told.values


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    """The message says which variable names which file, and what is wrong with it."""
    message = refused(tmp_path, CELERY_BROKER_URL_FILE="/run/secrets/none")
    assert message == (
        "CELERY_BROKER_URL_FILE=/run/secrets/none (environment): the file cannot be read (No such file or directory). "
        "Put the value of CELERY_BROKER_URL into that file."
    )


@pytest.mark.parametrize("content", ["", "\n", "  \n"])
def test_an_empty_secret_file_is_refused(tmp_path: Path, content: str) -> None:
    """A secret that was never filled in does not start a worker without a password."""
    secret = tmp_path / "url"
    secret.write_text(content)
    assert "the file is empty" in refused(tmp_path, CELERY_BROKER_URL_FILE=str(secret))


def test_a_secret_given_twice_is_refused(etc: Path) -> None:
    """Nobody has to guess which of a value and its file holds; the secret itself is not printed."""
    (etc / "celery.env").write_text("CELERY_BROKER_URL=redis://:hunter2@h/0\n")
    (etc / "url").write_text("redis://:hunter3@h/0")
    message = refused(etc, CELERY_BROKER_URL_FILE=str(etc / "url"))
    assert "the value is also given directly" in message
    assert "hunter" not in message


def test_no_option_of_celery_or_flower_is_taken_for_a_secret() -> None:
    """The _FILE form hides no option of the installed Celery and Flower."""
    options = {*option_names.celery_options(), *option_names.flower_options(), *option_names.READ_BY_CELERY}
    assert [name for name in options if environment.SECRET_FILE.fullmatch(name)] == []


@pytest.mark.parametrize("name", sorted(option_names.UNPREFIXED))
def test_names_that_beat_the_prefixed_ones_are_refused_from_the_environment(tmp_path: Path, name: str) -> None:
    """A stray APP or BROKER_URL, which Celery would follow in silence, stops the start."""
    message = refused(tmp_path, **{name: "other"})
    assert f"{name}=other (environment): Celery reads this name before CELERY_{name}" in message
    assert f"Unset it, and use CELERY_{name}" in message


def test_names_that_beat_the_prefixed_ones_are_refused_from_files(etc: Path) -> None:
    """The same in an env file, with the line to mend, and the password in it masked."""
    (etc / "celery.env").write_text("CELERY_APP=proj\nBROKER_URL=redis://:hunter2@h/0\n")
    message = refused(etc)
    assert f"BROKER_URL=redis://:***@h/0 ({etc}/celery.env:2)" in message


def test_a_misspelt_option_in_a_file_is_an_error_with_the_nearest_name(etc: Path) -> None:
    """Celery would ignore CELERY_WORKER_CONCURENCY; the kit names the file, the line and the right name."""
    (etc / "celery.env").write_text("CELERY_APP=proj\nCELERY_WORKER_CONCURENCY=4\n")
    (error,), warnings = misspelt(etc)
    assert (error.variable, error.source) == ("CELERY_WORKER_CONCURENCY", f"{etc}/celery.env:2")
    assert error.remedy == "Did you mean CELERY_WORKER_CONCURRENCY?"
    assert warnings == []


def test_a_misspelt_option_in_the_environment_is_a_warning(etc: Path) -> None:
    """An app may keep variables of its own in the environment, so these stop nothing."""
    errors, (warning,) = misspelt(etc, CELERY_WORKER_CONCURENCY="4")
    assert errors == []
    assert warning.remedy == "Did you mean CELERY_WORKER_CONCURRENCY?"


def test_an_app_s_own_secret_file_in_the_environment_is_only_a_warning(etc: Path) -> None:
    """An app's own CELERY_..._FILE variable, which the kit does not know, stops nothing either."""
    (etc / "secret").write_text("x")
    errors, (warning,) = misspelt(etc, CELERY_ZZZ_FILE=str(etc / "secret"))
    assert errors == []
    assert warning.variable == "CELERY_ZZZ"


def test_a_misspelt_setting_of_the_kit_is_found_too(etc: Path) -> None:
    """CELERYKIT_STOP_TIMOUT does not fall back to the default in silence."""
    (etc / "celery.env").write_text("CELERYKIT_STOP_TIMOUT=30\n")
    (error,), _ = misspelt(etc)
    assert error.remedy == "Did you mean CELERYKIT_STOP_TIMEOUT?"


def test_a_name_that_the_kit_has_given_up_is_refused_with_the_new_one(etc: Path) -> None:
    """A worker that did not read it would run in another kind of pool, so the environment is no excuse."""
    (etc / "celery.env").write_text("CELERYKIT_POOLS=threads\n")
    (file,), warnings = misspelt(etc)
    assert (
        str(file)
        == f"CELERYKIT_POOLS=threads ({etc}/celery.env:1): the kit has renamed it. Say CELERYKIT_POOL_KINDS instead."
    )
    assert not warnings
    (etc / "celery.env").unlink()
    (inherited,), warnings = misspelt(etc, CELERYKIT_POOLS="threads")
    assert "Say CELERYKIT_POOL_KINDS instead" in str(inherited)
    assert not warnings


def test_a_message_about_a_misspelt_name_ends_in_one_mark(etc: Path) -> None:
    """The line reads as a sentence."""
    _, (warning,) = misspelt(etc, CELERY_WORKER_CONCURENCY="4")
    assert str(warning).endswith("Did you mean CELERY_WORKER_CONCURRENCY?")


def test_right_names_are_left_alone(etc: Path) -> None:
    """Options, settings that Celery reads itself, Flower's options and other programs' variables are all fine."""
    (etc / "celery.env").write_text(
        "CELERY_APP=proj\nCELERY_BROKER_URL=memory://\nCELERY_BROKER_READ_URL=memory://\nCELERY_WORKER_QUEUES=a,b\n"
        "CELERY_BEAT_SCHEDULE=/var/lib/x\nFLOWER_PORT=5555\nCELERYKIT_DELIVERY=at-most-once\nDJANGO_SETTINGS_MODULE=x\n"
    )
    assert misspelt(etc) == ([], [])


def test_an_unknown_pool_lists_the_pools_there_are(etc: Path) -> None:
    """A misspelt pool does not start as one without options."""
    for pool in ("mail", "default"):
        (etc / f"worker-{pool}.env").write_text("")
    message = refused(etc, pool="mial")
    assert f"POOL=mial (command line): no file {etc}/worker-mial.env" in message
    assert "Pools with a file: default, mail" in message


@pytest.mark.parametrize("pool", ["../celery", "a b", "", "-x"])
def test_a_pool_s_name_is_no_path(tmp_path: Path, pool: str) -> None:
    """A pool's name becomes a file's name and a node's, and is refused where it cannot."""
    assert "POOL" in refused(tmp_path, pool=pool)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("CELERY_WORKER_CONCURRENCY", "many", "neither a whole number nor 'auto'"),
        ("CELERY_WORKER_CONCURRENCY", "-1", "neither a whole number nor 'auto'"),
        ("CELERY_WORKER_LOGLEVEL", "loud", "not one of"),
        ("CELERY_WORKER_PREFETCH_MULTIPLIER", "one", "'one' is not a valid integer"),
        ("CELERY_WORKER_TIME_LIMIT", "1h", "'1h' is not a valid float"),
        ("CELERY_WORKER_TASK_EVENTS", "sometimes", "'sometimes' is not a valid boolean"),
    ],
)
def test_a_value_that_celery_would_refuse_is_named(name: str, value: str, problem: str) -> None:
    """The message has the variable, the value, the place and what Celery takes instead."""
    (message,) = unfit(**{name: value})
    assert message.startswith(f"{name}={value} (environment): ")
    assert problem in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CELERY_WORKER_CONCURRENCY", "4"),
        ("CELERY_WORKER_CONCURRENCY", "auto"),
        ("CELERY_WORKER_LOGLEVEL", "info"),
        ("CELERY_WORKER_LOGLEVEL", "INFO"),
        ("CELERY_WORKER_AUTOSCALE", "10,3"),
        ("CELERY_WORKER_TASK_EVENTS", "true"),
        ("CELERY_WORKER_TIME_LIMIT", "30"),
        ("CELERY_WORKER_CONCURRENCY", ""),
    ],
)
def test_a_value_that_celery_takes_is_taken(name: str, value: str) -> None:
    """The kit is no stricter than Celery."""
    assert unfit(**{name: value}) == []


def test_beat_is_not_judged_by_a_worker_s_options() -> None:
    """One shared environment with a worker's mistake does not stop beat."""
    assert unfit("beat", CELERY_WORKER_CONCURRENCY="many") == []
    assert len(unfit("beat", CELERY_BEAT_MAX_INTERVAL="often")) == 1


def test_what_is_shown_is_masked_and_only_ours(tmp_path: Path) -> None:
    """An explanation shows the variables of Celery, Flower and the kit, without passwords."""
    told = resolve(
        tmp_path, HOME="/root", CELERY_BROKER_URL="redis://u:hunter2@h/0", FLOWER_BASIC_AUTH="a:hunter2", A_TOKEN="t"
    )
    shown = {name: value for name, value, _ in told}
    assert shown == {
        "CELERYKIT_CONFIG_DIR": str(tmp_path),
        "CELERY_BROKER_URL": "redis://u:***@h/0",
        "FLOWER_BASIC_AUTH": "***",
    }
