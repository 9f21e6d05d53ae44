"""A small part of `make apps`: apps of others, as their users have them, lose no job on the stack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.real.app import RealApp
from tests.real.run import Deployment


@pytest.mark.xdist_group("real")  # so that their sdist is downloaded once
@pytest.mark.parametrize(("name", "number"), [("celery-app", 8), ("celery-periodic-tasks", 1000)])
def test_an_app_of_others_loses_no_job(name: str, number: int) -> None:
    """Its worker is restarted under load, and killed under load; its periodic tasks run."""
    app = replace(RealApp.read(name), number=number)
    with Deployment(app, f"celerykit-app-tested-{name}") as deployment:
        assert deployment.through(deployment.restart)["lost"] == 0
        assert deployment.through(deployment.kill)["lost"] == 0
        deployment.seen()
