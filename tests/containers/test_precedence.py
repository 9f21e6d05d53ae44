"""An app that says things for itself, on a stack that says others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rig.process import refused
from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.containers import Rig

LINE = ["worker", "-A", "opinionated:create_app", "-c", "1", "-Q", "celery", "-l", "info"]


def told(rig: Rig, mode: int) -> dict[str, str]:
    """Write the app's own variables for it, and return what its worker is told."""
    file = rig.ledger.folder / "app.env"
    file.write_text('SECRET_KEY="a $b #c & d"\nRESULTS=file:///ledger\n')
    file.chmod(mode)
    return {
        "CELERY_RESULT_BACKEND": "UNSET",
        "CELERYKIT_RESULT_BACKEND": rig.result_backend,
        "CELERYKIT_APP_ENV_FILE": "/ledger/app.env",
    }


def test_an_app_keeps_its_result_backend_and_gets_the_broker_of_the_stack(stack: Rig) -> None:
    """Its results go where it says, its jobs come from the stack's broker, and the log says both without passwords."""
    worker = stack.celery(LINE, "none", **told(stack, 0o644))
    worker.wait_ready()
    (job,) = stack.client.work(1, 0.1)
    stack.assert_nothing_lost()
    until(lambda: any(job in file.name for file in stack.ledger.folder.iterdir()), 20, "a result in the app's folder")
    logs = worker.logs
    assert "broker_url=redis://:***@elsewhere/5 (app opinionated): gives way to CELERY_BROKER_URL=redis://" in logs
    assert "result_backend=file:///ledger (app opinionated): holds, and not CELERYKIT_RESULT_BACKEND=redis://" in logs
    assert "concurrency: 1 (prefork)" in logs
    assert not any(secret in logs for secret in ("hunter2", "a $b", stack.password))


def test_a_file_that_the_process_may_not_read_is_said_to_be_closed_to_its_user(rig: Rig) -> None:
    """As a .env of mode 600 is: the answer names the user, whose it is and how to open it."""
    worker = rig.celery(LINE, "none", **told(rig, 0o600))
    refused(worker, "CELERYKIT_APP_ENV_FILE=/ledger/app.env", "mode 0600. Let user 10001 read it: setfacl")
