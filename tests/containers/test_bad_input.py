"""Bad input ends in a message that names the variable, the value, the place and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rig.process import refused

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.containers import Rig


def config(folder: Path, **files: str) -> dict[str, object]:
    """Return the options that mount env files (``celery``, ``worker_default``, ...) as /etc/celery."""
    settings = folder / "etc"
    settings.mkdir()
    for name, text in files.items():
        (settings / f"{name.replace('_', '-')}.env").write_text(text)
    return {"volumes": {str(settings): {"bind": "/etc/celery", "mode": "ro"}}}


def test_a_misspelt_option_in_an_env_file_is_refused(rig: Rig, tmp_path: Path) -> None:
    """A name that Celery does not know, in the kit's own file, with the nearest one."""
    options = config(tmp_path, worker_default="CELERY_WORKER_CONCURENCY=3\n")
    worker = rig.celery(["worker"], "plain", **options)
    refused(worker, "CELERY_WORKER_CONCURENCY=3", "/etc/celery/worker-default.env:1", "CELERY_WORKER_CONCURRENCY?")


def test_a_misspelt_option_in_the_environment_is_a_warning(stack: Rig) -> None:
    """An app may keep names of its own there, so the worker starts, and says what it does not know."""
    worker = stack.worker(CELERY_WORKER_CONCURENCY=3)
    assert "warning: CELERY_WORKER_CONCURENCY=3 (environment)" in worker.logs


def test_a_pool_without_a_file_is_refused(rig: Rig, tmp_path: Path) -> None:
    """A misspelt pool lists those that there are."""
    options = config(tmp_path, celery="CELERY_APP=plain\n", worker_default="", worker_imports="")
    refused(rig.celery(["worker", "import"], "plain", **options), "POOL=import", "default, imports")


def test_an_unknown_pool_class_is_refused(rig: Rig) -> None:
    """The nearest pool of Celery is named."""
    refused(rig.worker("gevnt", ready=False), "CELERY_WORKER_POOL=gevnt", "did you mean gevent?")


def test_a_value_outside_the_dialect_is_refused(rig: Rig, tmp_path: Path) -> None:
    """What systemd, sh and Docker read differently is named with its line and the way out."""
    options = config(tmp_path, celery="# shared\nCELERY_BROKER_URL=redis://redis/0?a=1&b=2\n")
    refused(
        rig.celery(["worker"], "plain", **options),
        "CELERY_BROKER_URL=",
        "/etc/celery/celery.env:2",
        "'&'",
        "CELERY_BROKER_URL_FILE",
    )


@pytest.mark.parametrize(("content", "problem"), [(None, "No such file"), ("\n", "is empty")])
def test_a_missing_or_empty_secret_is_refused(rig: Rig, content: str | None, problem: str) -> None:
    """A secret file that says nothing is named together with the variable that names it."""
    if content is not None:
        (rig.ledger.folder / "secret").write_text(content)
    worker = rig.celery(["worker"], "plain", CELERY_BROKER_URL="UNSET", CELERY_BROKER_URL_FILE="/ledger/secret")
    refused(worker, "CELERY_BROKER_URL_FILE=/ledger/secret", problem)


def test_a_wrong_password_is_said(stack: Rig) -> None:
    """The worker waits, since the password may be about to change, and says what the broker says."""
    stack.broker_url = stack.broker_url.replace(stack.password, "wrong")
    worker = stack.worker(ready=False)
    worker.wait_log("invalid username-password pair")
    assert "wrong" not in worker.logs


def test_an_app_that_does_not_import_is_named_with_its_reason(rig: Rig) -> None:
    """The traceback's last line and the folder that was searched."""
    refused(rig.worker(app="broken", ready=False), "CELERY_APP=broken", "No module named 'no_such_module'", "/app")


def test_no_app_is_refused(rig: Rig) -> None:
    """Without CELERY_APP there is nothing to run."""
    refused(rig.worker(app="UNSET", ready=False), "CELERY_APP (", "names no app")


def test_a_name_that_overrides_is_refused(rig: Rig) -> None:
    """APP in the environment would start another app than CELERY_APP."""
    refused(rig.worker(APP="other", ready=False), "APP=other (environment)", "CELERY_APP")


def test_a_user_of_redis_that_may_not_hold_jobs_is_refused(rig: Rig, folder: Path) -> None:
    """As after an upgrade of the kit alone: the worker says which commands Redis must grant, and how."""
    redis = rig.redis()
    users = folder / "redis" / "users.acl"
    users.write_text(users.read_text().replace("+zpopmin", ""))
    redis.container.restart()
    refused(rig.worker(ready=False), "CELERY_BROKER_URL=user celery", "ACL SETUSER celery +zpopmin")
