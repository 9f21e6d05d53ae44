"""Workers without the kit, of an older release, on the kit's Redis: so that one can move worker by worker."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.releases import environments, servers
from tests.releases.crew import APP, SLOTS, Crew
from tests.releases.servers import REDIS
from tests.rig.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

RELEASES = [environments.MIDDLE_STOCK, pytest.param(environments.OLDEST, marks=pytest.mark.slow)]
JOBS = 40


@pytest.mark.parametrize("release", RELEASES)
def test_a_stock_worker_works_on_the_kit_s_redis(release: str, tmp_path: Path) -> None:
    """Its user may do what an older Celery sends: it looks for jobs of dead workers as soon as it has connected."""
    python = environments.python_of(release)
    with servers.broker(REDIS) as broker:
        crew = Crew(python, "prefork", broker, tmp_path)
        environment = {name: value for name, value in crew.environment.items() if name != "CELERY_LOADER"}
        log = tmp_path / "log"
        with log.open("w") as out:
            command = [python, "-m", "celery", "-A", "jobs", "worker", "-c", str(SLOTS), "-l", "INFO"]
            worker = subprocess.Popen(command, cwd=APP, env=environment, stdout=out, stderr=out)
        try:
            until(lambda: "ready." in log.read_text() or worker.poll() is not None, 60, log.read_text)
            crew.send(JOBS)
            until(lambda: len(crew.done()) == JOBS or worker.poll() is not None, 30, log.read_text)
            assert worker.poll() is None, log.read_text()
            worker.terminate()
            assert worker.wait(30) == 0
        finally:
            worker.kill()
            worker.wait()
    assert set(crew.done()) == set(range(JOBS))
    assert "no permissions" not in log.read_text()
