"""What a worker is given where nobody has said it, and what stays as it was said."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celerykit.config.settings import Settings, from_environment
from celerykit.errors import ConfigurationError
from celerykit.sizing.limits import Limit
from celerykit.tuning import startup
from tests.rig.since import since

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Run

CPUS = len(os.sched_getaffinity(0))
STYLES = ["updated", "assigned", "from_module", "from_namespace", "from_django", "old_names"]


@pytest.fixture
def explained(celerykit: Run) -> Run:
    """Return a function that returns the lines of `--explain`, and what else it says."""

    def explain(*arguments: str, app: str = "nothing", **environ: str) -> tuple[list[str], str]:
        answer = celerykit("worker", "--explain", *arguments, CELERY_APP=app, **environ)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.splitlines(), answer.stderr

    return explain


def value(lines: list[str], name: str) -> str:
    """Return the line about a value, the last one if there are several."""
    return next(line for line in reversed(lines) if line.startswith(f"{name}="))


def test_a_worker_of_which_nothing_is_said_is_as_large_as_its_machine(explained: Run) -> None:
    """A child a CPU, each replaced before all together are out of memory, and every number with its reason."""
    lines, _ = explained()
    assert value(lines, "worker_concurrency").startswith(f"worker_concurrency={CPUS}  # tuned: {CPUS} CPU")
    assert re.match(r".* \(affinity|cpu\..*; memory \(\d+ MB, .*\) allows \d+; ", value(lines, "worker_concurrency"))
    assert re.match(r"worker_max_memory_per_child=\d+  # tuned: \d+ MB of its own", lines[-2])
    assert value(lines, "worker_prefetch_multiplier").startswith("worker_prefetch_multiplier=1  # tuned: ")
    assert lines[-1] == "celery worker -P processes  # arguments"


def test_tuning_can_be_switched_off(explained: Run) -> None:
    """CELERYKIT_TUNE=off leaves a worker as Celery makes it."""
    lines, _ = explained(CELERYKIT_TUNE="off", CELERYKIT_POOL_KINDS="threads")
    assert [line for line in lines if "tuned" in line or line.startswith("worker_concurrency")] == []
    assert lines[-1] == "celery worker -P processes  # arguments"


@pytest.mark.parametrize(
    ("arguments", "environ", "line"),
    [
        ([], {"CELERY_WORKER_CONCURRENCY": "16"}, "worker_concurrency=16  # CELERY_WORKER_CONCURRENCY (environment)"),
        pytest.param(
            [],
            {"CELERY_WORKER_CONCURRENCY": "auto"},
            "worker_concurrency=auto  # CELERY_WORKER_CONCURRENCY",
            marks=since("auto"),
        ),
        ([], {"CELERY_WORKER_AUTOSCALE": "8,2"}, "worker_concurrency=8,2  # CELERY_WORKER_AUTOSCALE (environment)"),
        (["--", "-c16"], {}, "worker_concurrency=16  # arguments"),
        (["--", "--autoscale", "8,2"], {}, "worker_concurrency=8,2  # arguments"),
        (["--", "--prefetch-multiplier=3"], {}, "worker_prefetch_multiplier=3  # arguments"),
        ([], {"CELERY_WORKER_MAX_MEMORY_PER_CHILD": "50000"}, "worker_max_memory_per_child=50000  # CELERY_WORKER_MAX"),
    ],
)
def test_what_the_operator_has_set_stays(
    explained: Run, arguments: list[str], environ: dict[str, str], line: str
) -> None:
    """Tuning fills what is left empty, even if it is forced, and says what it would have filled in."""
    lines, _ = explained(*arguments, CELERYKIT_TUNE="force", **environ)
    name = line.partition("=")[0]
    assert value(lines, name).startswith(line)
    assert "; tuned, it would be " in value(lines, name)
    flag = f"--{name.removeprefix('worker_').replace('_', '-')}="
    assert lines[-1].count(flag) == " ".join(arguments).count(flag)


@pytest.mark.parametrize("app", STYLES)
def test_what_the_app_has_set_stays(explained: Run, app: str) -> None:
    """However it says it, and with what it would be otherwise."""
    lines, _ = explained(app=app)
    assert "worker_prefetch_multiplier=7  # the app's own setting; tuned, it would be 1: " in "\n".join(lines)


def test_tuning_can_be_forced_on_the_app(explained: Run) -> None:
    """CELERYKIT_TUNE=force passes options, which win over the app's settings, and names what they replace."""
    lines, _ = explained(app="updated", CELERYKIT_TUNE="force")
    assert "worker_prefetch_multiplier=1  # tuned, instead of 7 (the app's own setting): " in "\n".join(lines)
    assert f" --concurrency={CPUS} --prefetch-multiplier=1 --max-memory-per-child=" in lines[-1]


def test_children_share_what_is_left_by_the_number_that_somebody_insists_on(explained: Run) -> None:
    """16 children are each replaced sooner than 2, however they came about."""
    sizes = {}
    for children in ("2", "16", "16,2"):
        name = "AUTOSCALE" if "," in children else "CONCURRENCY"
        lines, _ = explained(**{f"CELERY_WORKER_{name}": children})
        sizes[children] = int(value(lines, "worker_max_memory_per_child").split("=")[1].split()[0])
    assert sizes["2"] > 6 * sizes["16"]
    assert abs(sizes["16"] - sizes["16,2"]) < sizes["16"] / 20


def test_threads_are_for_apps_that_allow_nothing_else_or_whose_operator_chose_them(explained: Run) -> None:
    """While nothing is known of the jobs, an app that allows both stays on prefork."""
    assert explained(CELERYKIT_POOL_KINDS="threads,prefork")[0][-1].startswith("celery worker -P processes ")
    assert explained(CELERYKIT_POOL_KINDS="threads")[0][-1].startswith("celery worker -P threads ")
    lines, _ = explained(CELERY_WORKER_POOL="threads")
    assert value(lines, "worker_concurrency").startswith("worker_concurrency=10  # tuned: nothing is known of the jobs")
    assert "max_connections of broker_transport_options allows 1000" in value(lines, "worker_concurrency")


def test_a_pool_of_somebody_else_s_making_is_not_tuned(explained: Run) -> None:
    """Nobody knows what its slots cost."""
    lines, _ = explained(CELERY_WORKER_POOL="custom", CELERY_CUSTOM_WORKER_POOL="celery.concurrency.solo:TaskPool")
    assert [line for line in lines if "tuned" in line] == []


def test_pools_of_one_machine_share_it_by_weight(explained: Run, etc: Path) -> None:
    """Each pool's part of the memory follows from its weight; one with mistakes counts as one of usual weight."""
    for pool, text in {"default": "", "heavy": "CELERYKIT_WEIGHT=2\n", "broken": "CELERYKIT_WEIGHT=none\n"}.items():
        (etc / f"worker-{pool}.env").write_text(text)

    def memory(pool: str) -> int:
        told = {"CELERY_WORKER_CONCURRENCY": "1", "CELERYKIT_CONFIG_DIR": str(etc)}
        lines, _ = explained(pool, **told)
        return int(re.findall(r"memory \((\d+) MB", value(lines, "worker_concurrency"))[0])

    parts = {pool: memory(pool) for pool in ("default", "heavy")}
    assert parts["heavy"] / parts["default"] == pytest.approx(2, rel=0.01)
    (etc / "worker-broken.env").unlink()
    assert memory("default") == pytest.approx(parts["default"] * 4 / 3, rel=0.01)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("CELERYKIT_TUNE", "yes", "neither on, off nor force"),
        ("CELERYKIT_POOL_KINDS", "prefork,thread", "thread is none of prefork, threads, gevent, eventlet, solo"),
        ("CELERYKIT_POOL_KINDS", "prefork,", "an empty name is none of "),
        ("CELERYKIT_WEIGHT", "0", "not a positive number"),
        ("CELERYKIT_WEIGHT", "-1", "not a positive number"),
        ("CELERYKIT_WEIGHT", "half", "not a positive number"),
    ],
)
def test_a_setting_of_tuning_that_means_nothing_is_refused(name: str, text: str, problem: str) -> None:
    """With the name, the value, what is wrong and what the default is."""
    with pytest.raises(ConfigurationError) as caught:
        from_environment({name: text})
    message = str(caught.value)
    assert message.startswith(f"{name}={text} (environment): {problem}")
    assert f"The default is {Settings().in_force()[name]}" in message


def test_connections_that_a_process_has_are_known() -> None:
    """The least pool of connections that the app configures bounds its threads; children have one each."""
    app = Celery(broker="redis://", backend="db+sqlite://")
    app.conf.update(broker_transport_options={"max_connections": 20}, database_engine_options={"pool_size": 5})
    assert list(startup.connections(app.conf, "threads")) == [
        Limit(20, "max_connections of broker_transport_options"),
        Limit(5, "pool_size of database_engine_options"),
    ]
    assert list(startup.connections(app.conf, "prefork")) == []
    on_redis = Celery(broker="amqp://", backend="rediss://")
    on_redis.conf.redis_max_connections = 7
    assert list(startup.connections(on_redis.conf, "gevent")) == [Limit(7, "redis_max_connections")]
