"""What `celerykit tune` proposes, and what it refuses."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from celerykit.sizing import history, queue_split
from celerykit.sizing.history import Jobs, Record

if TYPE_CHECKING:
    from tests.unit.conftest import Run

CPUS = len(os.sched_getaffinity(0))
MIB = 2**20
WAIT = Jobs(jobs=800, wall=0.2, cpu=0.001, p50=0.2, p95=0.45, p99=0.5, growth=1 * MIB)
BURN = Jobs(jobs=200, wall=0.02, cpu=0.02, p50=0.02, p95=0.02, p99=0.02, growth=None)
LONG = Jobs(jobs=20, wall=1800.0, cpu=900.0, p50=1700.0, p95=3000.0, p99=3400.0, growth=None)


def values(answer: Any) -> dict[str, str]:
    """Return the variables that are proposed."""
    assert answer.returncode == 0, answer.stderr
    return dict(line.split("=", 1) for line in answer.stdout.splitlines() if re.match(r"\w+=", line))


def keep(folder: Path, **tasks: Jobs) -> None:
    """Have a worker's record of these tasks."""
    found = {name.replace("_", "."): jobs for name, jobs in tasks.items()}
    everything = queue_split.together(list(found.values()))
    record = Record(
        "shop", "prefork", "2026-01-01T00:00:00+00:00", 60, CPUS * 20, None, 1.0, 15 * MIB, everything, found
    )
    history.write(folder / "profile-default.json", record)


def test_a_task_of_the_app_is_run_and_measured(celerykit: Run) -> None:
    """Here and now: jobs that wait get as many children as keep the CPUs busy, jobs that compute one a CPU."""
    waiting = celerykit("tune", "--app", "shop", "--task", "shop.wait", "--args", "[0.05]")
    assert re.search(r"# shop.wait: 9 jobs of 0\.0[45]", waiting.stdout)
    assert values(waiting)["CELERY_WORKER_POOL"] == "prefork"
    assert int(values(waiting)["CELERY_WORKER_CONCURRENCY"]) > 4 * CPUS
    computing = celerykit("tune", "--app", "shop", "--task", "shop.burn", "--args", "[0.05]", "--runs", "4")
    assert CPUS <= int(values(computing)["CELERY_WORKER_CONCURRENCY"]) <= 2 * CPUS
    holding = celerykit("tune", "--app", "shop", "--task", "shop.hold", "--kwargs", '{"megabytes": 60}', "--runs", "1")
    assert 55 < int(re.findall(r"(\d+) MB more memory at most", holding.stdout)[0]) < 80


def test_it_says_what_threads_would_gain_and_does_not_choose_them(celerykit: Run) -> None:
    """Only whoever knows the app can say whether it is safe for them; then they are chosen."""
    # On a busy machine, jobs that are shorter seem to compute.
    told = ("tune", "--app", "shop", "--task", "shop.wait", "--args", "[0.3]", "--runs", "5")
    asked = celerykit(*told)
    assert "# if the app is safe for threads, CELERYKIT_POOL_KINDS=threads,prefork: concurrency " in asked.stdout
    allowed = celerykit(*told, CELERYKIT_POOL_KINDS="threads,prefork")
    assert values(allowed)["CELERY_WORKER_POOL"] == "threads"
    assert "if the app is safe" not in allowed.stdout


@pytest.mark.skipif(CPUS < 2, reason="one CPU has no room for a second thread")
def test_jobs_that_let_go_of_the_interpreter_are_told_apart_by_running_them(celerykit: Run) -> None:
    """Both use a CPU all the time; in threads, one of them uses all that there are, and needs no children."""
    told = ("tune", "--app", "shop", "--runs", "5", "--task")
    alone = celerykit(*told, "shop.sign", "--args", "[200000]", CELERYKIT_POOL_KINDS="threads,prefork")
    assert values(alone)["CELERY_WORKER_POOL"] == "threads", alone.stdout
    assert re.search(r"threads of one process use \d\.\d CPUs at once", alone.stdout)
    in_turn = celerykit(*told, "shop.burn", "--args", "[0.1]", CELERYKIT_POOL_KINDS="threads,prefork")
    assert values(in_turn)["CELERY_WORKER_POOL"] == "prefork", in_turn.stdout
    unsaid = celerykit(*told, "shop.sign", "--args", "[200000]")
    assert values(unsaid)["CELERY_WORKER_POOL"] == "prefork", unsaid.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--task", "shop.fail"], "--task=shop.fail (celerykit tune): raised ValueError('no such order')"),
        (["--task", "shop.wait"], "--task=shop.wait (celerykit tune): raised TypeError("),
        (["--task", "shop.die"], "its process ended with exit code -9"),
        (["--task", "shop.wai"], "the app has no such task. Did you mean shop.wait?"),
    ],
)
def test_a_task_that_fails_while_it_is_measured_is_named(celerykit: Run, arguments: list[str], problem: str) -> None:
    """Nothing is proposed from it."""
    answer = celerykit("tune", "--app", "shop", *arguments)
    assert answer.returncode == 78
    assert problem in answer.stderr
    assert answer.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [["--args", "1"], ["--args", "nonsense"], ["--kwargs", "[]"], ["--runs", "0"], ["--sample", "none"]],
)
def test_an_argument_that_is_none_is_refused(celerykit: Run, arguments: list[str]) -> None:
    """With the usage."""
    answer = celerykit("tune", "--app", "shop", "--task", "shop.wait", *arguments)
    assert answer.returncode == 2
    assert "usage: celerykit tune" in answer.stderr


def test_the_old_name_of_an_option_is_refused_with_the_new_one(celerykit: Run) -> None:
    """Celery calls the children of a worker processes; the option counts workers."""
    answer = celerykit("tune", "--processes", CELERY_APP="shop")
    assert answer.returncode == 2
    assert "--processes is --replicas now" in answer.stderr


def test_nothing_seen_is_said(celerykit: Run, tmp_path: Path) -> None:
    """And the size is what the machine allows."""
    answer = celerykit("tune", CELERY_APP="shop", STATE_DIRECTORY=str(tmp_path))
    assert answer.stdout.startswith("# nothing was seen of this pool's jobs yet\n")
    assert values(answer)["CELERY_WORKER_CONCURRENCY"] == str(CPUS)


def test_a_proposal_is_written_into_the_pool_s_file_and_changes_nothing_else(
    celerykit: Run, tmp_path: Path, etc: Path
) -> None:
    """Once more, it changes nothing; each worker more is a link, and an instance of its own."""
    file = etc / "worker-default.env"
    file.write_text("# ours\nCELERY_WORKER_CONCURRENCY=3\nCELERY_WORKER_QUEUES=mail\n")
    file.chmod(0o640)
    keep(tmp_path, shop_wait=WAIT, shop_burn=BURN)
    told = {"STATE_DIRECTORY": str(tmp_path), "CELERY_APP": "shop", "CELERYKIT_POOL_KINDS": "threads,prefork"}
    proposed = values(celerykit("tune", **told))
    written = celerykit("tune", "--write", **told)
    assert f"wrote {file}\n" in written.stdout
    text = file.read_text()
    assert text == "# ours\nCELERY_WORKER_QUEUES=mail\n" + "".join(f"{n}={v}\n" for n, v in proposed.items())
    assert proposed["CELERY_WORKER_POOL"] == "threads"
    assert file.stat().st_mode & 0o777 == 0o640
    assert celerykit("tune", "--write", **told).returncode == 0
    assert file.read_text() == text
    links = [path for path in etc.iterdir() if path.is_symlink()]
    assert all(link.readlink() == file.relative_to(etc) for link in links)
    assert len(links) == written.stdout.count("wrote ") - 1
    assert celerykit("tune", "--replicas", **told).stdout == f"{len(links) + 1}\n"  # of all, they share its part
    lines = celerykit("worker", "--explain", **told).stdout
    assert f"CELERY_WORKER_CONCURRENCY={proposed['CELERY_WORKER_CONCURRENCY']}  # {file}" in lines


def test_a_further_worker_of_a_pool_begins_with_what_the_first_one_has_seen(
    celerykit: Run, tmp_path: Path, etc: Path
) -> None:
    """It has seen nothing itself, and would be of another kind and size than the one beside it."""
    (etc / "worker-default.env").touch()
    (etc / "worker-default-2.env").symlink_to("worker-default.env")
    keep(tmp_path, shop_wait=WAIT)
    told = {"STATE_DIRECTORY": str(tmp_path), "CELERY_APP": "shop", "CELERYKIT_POOL_KINDS": "threads,prefork"}
    first, second = (celerykit("worker", pool, "--explain", **told).stdout for pool in ("default", "default-2"))
    # How much memory a thread would take differs a little from measurement to measurement.
    sizes = [re.findall(r"^(\w+=\S+)  # tuned: ([^;]*)", lines, re.MULTILINE) for lines in (first, second)]
    assert sizes[0] == sizes[1] and "jobs wait" in sizes[1][0][1]
    assert "celery worker -P threads" in second


def test_a_folder_that_cannot_be_written_is_named(celerykit: Run, tmp_path: Path) -> None:
    """In a container the lines belong elsewhere."""
    answer = celerykit("tune", "--write", CELERY_APP="shop", CELERYKIT_CONFIG_DIR=str(tmp_path / "none"))
    assert answer.returncode == 78
    assert f"worker-default.env ({tmp_path}/none): cannot be written: No such file" in answer.stderr


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="would ask the systemd of this machine")
def test_where_nothing_starts_workers_that_is_said(celerykit: Run, tmp_path: Path, etc: Path) -> None:
    """As in a container, whose environment the values belong into; and nothing is written."""
    answer = celerykit("tune", "--apply", CELERY_APP="shop", STATE_DIRECTORY=str(tmp_path))
    assert answer.returncode == 78
    assert "--apply=default (this machine): nothing here starts workers" in answer.stderr
    assert "docker compose up" in answer.stderr
    assert not (etc / "worker-default.env").exists()


def test_long_jobs_are_advised_a_queue_of_their_own(celerykit: Run, tmp_path: Path) -> None:
    """With the route and the env file that make it so, and what that gains."""
    keep(tmp_path, shop_burn=BURN, shop_hold=LONG)
    answer = celerykit("tune", CELERY_APP="shop", STATE_DIRECTORY=str(tmp_path))
    assert "# queues of their own for long jobs: those of up to 0.02 s wait no longer behind those of 1.7e+03 s" in (
        answer.stdout
    )
    assert "# task_routes = {'shop.hold': {'queue': 'default-long'}}" in answer.stdout
    assert "#   CELERY_WORKER_QUEUES=default-long" in answer.stdout


def test_jobs_that_are_alike_stay_in_one_queue(celerykit: Run, tmp_path: Path) -> None:
    """So do a few among many."""
    keep(tmp_path, shop_wait=WAIT, shop_burn=Jobs(2, 0.02, 0.02, 0.02, 0.02, 0.02, None))
    answer = celerykit("tune", CELERY_APP="shop", STATE_DIRECTORY=str(tmp_path))
    assert "queues of their own" not in answer.stdout
    assert "2 jobs of 0.02 s" in answer.stdout


def test_tasks_that_are_gone_are_named(celerykit: Run, tmp_path: Path) -> None:
    """What was seen is of another version of the app."""
    keep(tmp_path, shop_wait=WAIT, shop_fax=WAIT)
    answer = celerykit("tune", CELERY_APP="shop", STATE_DIRECTORY=str(tmp_path))
    assert "1600 jobs of 2 tasks, of which the app no longer has shop.fax (" in answer.stdout


@pytest.mark.parametrize(
    ("tasks", "kinds"),
    [
        ({}, []),
        ({"a": WAIT}, ["wait"]),
        ({"a": WAIT, "b": BURN}, ["wait", "cpu"]),
        ({"a": BURN, "b": LONG}, ["cpu", "long"]),
        ({"a": LONG}, ["wait"]),
        ({"a": Jobs(5, 0.1, None, 0.1, 0.1, 0.1, None)}, ["cpu"]),
    ],
)
def test_kinds_are_told_apart_by_what_jobs_do(tasks: dict[str, Jobs], kinds: list[str]) -> None:
    """Long ones are long beside others; what nobody knows counts as busy."""
    assert [part.kind for part in queue_split.parts(tasks)] == kinds


def test_the_record_is_data_that_others_can_read(tmp_path: Path) -> None:
    """JSON with names that say what they hold."""
    keep(tmp_path, shop_wait=WAIT)
    told = json.loads((tmp_path / "profile-default.json").read_text())
    assert told["tasks"]["shop.wait"]["wall"] == 0.2
