"""What the kit does where a release lacks something, and what it says of releases that will not do."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from queue import Empty
from types import SimpleNamespace as Namespace
from typing import TYPE_CHECKING, Any

import pytest
from billiard.exceptions import WorkerLostError
from celery import Celery
from celery.app.trace import build_tracer
from celery.worker import state
from celery.worker.consumer.tasks import Tasks
from kombu.asynchronous import Hub
from kombu.asynchronous.timer import Timer
from kombu.utils.eventio import READ, poll

from celerykit import differences, launch, releases
from celerykit.brokers import rabbitmq
from celerykit.compat import app_settings, job_endings, redis_polling, retries, worker_loop
from celerykit.errors import ConfigurationError
from celerykit.sizing import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    Installed = Callable[..., None]

NEWEST = {"celery": (5, 7, 0), "kombu": (5, 7, 0), "redis": (8, 1, 0)}
MIDDLE = {"celery": (5, 6, 3), "kombu": (5, 6, 2), "redis": (6, 4, 0)}
OLDEST = {"celery": (5, 5, 3), "kombu": (5, 5, 4), "redis": (5, 2, 1)}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Have some releases for those that are installed."""

    def have(versions: dict[str, tuple[int, ...]], **others: tuple[int, ...]) -> None:
        there = {**versions, **others}
        monkeypatch.setattr(releases, "version_of", lambda package: there.get(package, ()))
        monkeypatch.setattr(releases, "_installed", lambda package: ".".join(map(str, there.get(package, ()))))

    return have


@pytest.mark.parametrize("name", differences.DIFFERENCES)
def test_a_difference_ends_with_the_release_that_brings_it(name: str, installed: Installed) -> None:
    """Until then the kit does it, and from then on Celery."""
    told = differences.DIFFERENCES[name]
    installed(NEWEST, **{told.package: told.since})
    assert not releases.lacks(name)
    installed(NEWEST, **{told.package: (told.since[0], told.since[1] - 1, 9)})
    assert releases.lacks(name)
    installed(NEWEST, **{told.package: ()})
    assert not releases.lacks(name)  # nobody knows: it is said where it is missing


def test_the_installed_releases_are_found() -> None:
    """They are those that the imported packages say."""
    import celery
    import kombu

    assert ".".join(map(str, releases.version_of("celery"))) == celery.__version__
    assert ".".join(map(str, releases.version_of("kombu"))) == kombu.__version__
    assert releases.version_of("no-such-package") == ()


def test_what_is_in_the_range_is_not_spoken_of(installed: Installed) -> None:
    """The newest, the oldest and those between."""
    for versions in (NEWEST, MIDDLE, OLDEST, {**MIDDLE, "kombu": (5, 7, 0)}):
        installed(versions)
        assert releases.require() == []
        assert list(releases.redis_refusals()) == []


def test_what_is_too_old_is_one_line(installed: Installed) -> None:
    """It names the package, what is there, what is needed and the remedy."""
    installed(OLDEST, celery=(5, 4, 0), kombu=(5, 4, 2))
    with pytest.raises(ConfigurationError) as refused:
        releases.require()
    (line,) = str(refused.value).splitlines()
    assert line.startswith("celery=5.4.0 (installed in ")
    assert "celerykit needs 5.5 or later, before 5.8. Have the app's requirements say celery>=5.5,<5.8." in line


def test_what_is_too_new_is_only_warned_of(installed: Installed) -> None:
    """A worker leaves out what rests on inner parts, and says so."""
    installed(NEWEST, celery=(5, 8, 0))
    assert [finding.variable for finding in releases.require()] == ["celery"]
    assert "celerykit.worker.publishing:Publishing" in releases.left_out()
    installed(NEWEST)
    assert releases.left_out() == ()


def test_a_newer_kombu_has_its_own_transport(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless somebody says that it is to be the kit's."""
    monkeypatch.setenv("CELERY_APP", "app")
    installed(NEWEST, kombu=(5, 8, 0))
    environ = {"CELERY_APP": "app"}
    assert launch.prepare("worker", environ, "default", [])[0].settings.redis_transport == "stock"
    environ["CELERYKIT_REDIS_TRANSPORT"] = "kit"
    assert launch.prepare("worker", environ, "default", [])[0].settings.redis_transport == "kit"


@pytest.mark.parametrize(
    ("celery", "kombu", "redis", "needed"),
    [
        ((5, 6, 3), (5, 7, 0), (5, 3, 1), "Require redis>=6.1, or kombu<5.7 beside it"),
        ((5, 7, 0), (5, 7, 0), (5, 3, 1), "Require redis>=6.1"),
        ((5, 6, 3), (5, 6, 2), (4, 6, 0), "Have the app's requirements say redis>=5.2,<9"),
        ((5, 6, 3), (5, 6, 2), (5, 3, 1), ""),
    ],
)
def test_a_client_that_kombu_refuses_is_named(
    celery: Any, kombu: Any, redis: Any, needed: str, installed: Installed
) -> None:
    """With the release that will do."""
    installed(NEWEST, celery=celery, kombu=kombu, redis=redis)
    assert [finding.remedy for finding in releases.redis_refusals()] == [needed] * bool(needed)


def test_what_can_be_noticed_is_said_at_the_start(installed: Installed) -> None:
    """In one line."""
    installed(MIDDLE)
    assert "celery 5.6.3 with kombu 5.6.2 lacks PGMQ as a broker, " in releases.shortcomings()
    assert "worker_eta_task_limit" not in releases.shortcomings()
    installed(OLDEST)
    assert "worker_eta_task_limit" in releases.shortcomings()
    installed(NEWEST)
    assert releases.shortcomings() == ""


def test_auto_is_a_number(installed: Installed) -> None:
    """As many as the CPUs within affinity and quota, wherever it is told."""
    installed(MIDDLE)
    number = str(limits.auto_concurrency())
    assert int(number) == max(1, min(int(limit.value + 0.999) for limit in limits.read().cpus))
    told = {"CELERY_APP": "app", "CELERY_WORKER_CONCURRENCY": "auto"}
    ready, _ = launch.prepare("worker", told, "default", ["-c", "auto", "--concurrency=auto", "-cauto", "-Q", "auto"])
    assert ready.environment.values["CELERY_WORKER_CONCURRENCY"] == number
    assert ready.arguments == ["-c", number, f"--concurrency={number}", f"-c{number}", "-Q", "auto"]


def test_old_names_are_found(installed: Installed) -> None:
    """Celery would look for them after the kit's defaults."""
    installed(MIDDLE)
    app = Celery("old", set_as_current=False)
    app.config_from_object({"CELERYD_PREFETCH_MULTIPLIER": 7, "CELERYBEAT_SYNC_EVERY": 9})
    app.conf.get("task_acks_late")
    found = app_settings.by_old_names(app.conf)
    assert (found["worker_prefetch_multiplier"], found["beat_sync_every"]) == (7, 9)
    assert app_settings.is_set(app.conf, "worker_prefetch_multiplier")
    assert not app_settings.is_set(app.conf, "task_acks_late")


def test_namespaced_names_are_found(installed: Installed) -> None:
    """As a Django project has them."""
    installed(MIDDLE)
    app = Celery("namespaced", set_as_current=False)
    app.config_from_object({"CELERY_TASK_DEFAULT_EXCHANGE": "mine"}, namespace="CELERY")
    assert app_settings.is_set(app.conf, "task_default_exchange")
    assert app_settings.keys(app.conf, "task_default_exchange")[0] == "CELERY_TASK_DEFAULT_EXCHANGE"
    assert not app_settings.is_set(app.conf, "task_default_exchange_type")


def test_queues_of_commands_are_exclusive(installed: Installed) -> None:
    """Where Celery knows that setting, and does not make them so by itself."""
    for versions, expected in ((NEWEST, False), (MIDDLE, True), (OLDEST, False)):
        installed(versions)
        assert app_settings.defaults().get("control_queue_exclusive", False) is expected


def test_a_task_s_own_settings_are_found(installed: Installed) -> None:
    """By the names that there are, and in the app's settings."""
    task = Namespace(
        acks_on_failure_or_timeout=False, time_limit=None, app=Namespace(conf=Namespace(task_time_limit=9))
    )
    installed(MIDDLE)
    assert not app_settings.acks(task, "failure")
    assert app_settings.time_limit(task) == 9
    installed(NEWEST)
    assert app_settings.acks(Namespace(acks_on_failure=None), "failure")
    assert app_settings.time_limit(Namespace(time_limit=None)) is None


@pytest.mark.parametrize(("exc", "status"), [(SystemExit(3), "exitcode 3"), (KeyboardInterrupt(), "KeyboardInterrupt")])
def test_the_end_of_a_process_is_that_of_its_job(exc: BaseException, status: str) -> None:
    """In Celery's words."""
    found = job_endings.worker_lost(exc).exception.exc
    assert isinstance(found, WorkerLostError)
    assert str(found) == f"Worker exited prematurely: {status}."


def test_what_celery_does_not_keep_is_not_asked_for(installed: Installed) -> None:
    """Neither a stored success, nor requests that wait, nor a hook."""
    installed(OLDEST)
    assert not job_endings.success_was_stored(Namespace())
    assert job_endings.scheduled() == ()
    assert retries.retry_hook(Namespace())(OSError()) is None
    assert retries.retried(Namespace(), lambda number: number + 1, 1) == 2


@pytest.mark.parametrize("to_spec", [True, False])
def test_a_prefetch_that_is_kept_is_known(installed: Installed, to_spec: bool) -> None:
    """A worker that adapts begins a consumer anew, where a larger prefetch would not reach the old one."""
    connection = Namespace(qos_semantics_matches_spec=to_spec, transport=Namespace(driver_type="redis"))
    consumer = Namespace(steps=[object(), object.__new__(Tasks)], connection=connection, app=Celery("any"))
    installed(MIDDLE)
    assert worker_loop.keeps_prefetch(consumer) is to_spec
    installed(NEWEST)
    consumer.qos_global = not to_spec
    assert worker_loop.keeps_prefetch(consumer) is to_spec


def test_revocations_are_merged(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    """On each release."""
    monkeypatch.setattr(state, "merge_revoked", state.revoked.update, raising=False)
    for versions in (MIDDLE, NEWEST):
        installed(versions)
        job_endings.merge_revoked([f"of {versions['celery']}"])
        assert f"of {versions['celery']}" in state.revoked


def test_a_link_is_told_from_what_a_job_sends(installed: Installed) -> None:
    """By Celery's own frame, in which the job has succeeded and its result is not stored yet."""
    installed(MIDDLE)
    app = Celery("links", broker="memory://", set_as_current=False)
    seen: dict[str, bool] = {}
    app.amqp.send_task_message = lambda producer, name, *_, **__: seen.update({name: job_endings.is_link_of_old()})

    @app.task(name="own")
    def own() -> None:
        """Be sent by the job."""

    @app.task(name="link")
    def link(result: Any) -> None:
        """Be sent for the job."""

    @app.task(name="late")
    def late() -> None:
        """Be sent by its hook."""

    class Base(app.Task):  # type: ignore[misc, name-defined]
        def on_success(self, *_: Any) -> None:
            late.delay()

    @app.task(name="job", base=Base)
    def job() -> None:
        """Send one more."""
        own.delay()

    app.finalize()
    build_tracer("job", job, app=app)("1", (), {}, {"id": "1", "callbacks": [link.s()], "delivery_info": {}})
    assert seen == {"own": False, "link": True, "late": False}


def consumer_with(timer: Any) -> Any:
    """Return what is to be seen of a consumer."""
    return Namespace(timer=timer, apply_eta_task=print)


def test_only_a_connection_s_timers_end_with_it(installed: Installed) -> None:
    """A worker's own, and those of running jobs, go on; jobs that wait for their ETA are delivered again."""
    installed(MIDDLE)
    timer = Timer()
    consumer = consumer_with(timer)
    timers = worker_loop.Timers(consumer)
    pulse = timer.call_repeatedly(1.0, list)
    timers.connecting()
    restore = timer.call_repeatedly(1.0, list)
    timers.connected()
    limit, eta = timer.call_after(60.0, list), timer.call_after(60.0, consumer.apply_eta_task)
    timer.clear()
    assert [entry.canceled for entry in (pulse, restore, limit, eta)] == [False, True, False, True]
    timers.connecting()
    early = timer.call_repeatedly(1.0, list)
    timer.clear()  # before the loop has begun
    assert (early.canceled, pulse.canceled) == (True, False)


def test_a_newer_celery_sees_to_its_timers(installed: Installed) -> None:
    """Whoever clears one there means that."""
    installed(NEWEST)
    timer = Timer()
    worker_loop.Timers(consumer_with(timer)).connecting()
    timer.call_after(60.0, list)
    timer.clear()
    assert not timer.queue


def test_what_runs_stays_known_to_its_pool(installed: Installed) -> None:
    """And no other job is given to its child; what no child has begun is forgotten."""
    child = Namespace(inqW_fd=7, _is_alive=lambda: True)
    runs, waits, ended = (
        Namespace(_accepted=accepted, _write_to=child, _scheduled_for=None, ready=lambda ready=ready: ready)
        for accepted, ready in ((True, False), (False, False), (True, True))
    )
    for versions, expected in ((MIDDLE, {1: runs}), (NEWEST, {})):
        installed(versions)
        pool = Namespace(_cache={1: runs, 2: waits, 3: ended}, _busy_workers={7, 8})
        with worker_loop.kept(pool):
            pool._cache.clear()
            pool._busy_workers.clear()
        assert pool._cache == expected
        assert pool._busy_workers == ({7} if expected else set())


def test_another_thread_ends_the_loop_s_wait() -> None:
    """At once, and not the loop's own thread, which looks anyway."""
    with closing(Hub()) as hub:
        waker = worker_loop.Waker()
        waker.watch(hub)
        waker.wake()
        assert not hub.poller.poll(0.05)
        thread = threading.Thread(target=waker.wake)
        thread.start()
        thread.join()
        ((fd, event),) = hub.poller.poll(1.0)
        assert event & READ
        reader, arguments = hub.readers[fd]
        reader(*arguments)
        assert not hub.poller.poll(0.05)


def test_a_broken_connection_is_closed(installed: Installed) -> None:
    """By the kit, where Celery leaves it open."""
    for versions, expected in ((MIDDLE, ["closed"]), (NEWEST, [])):
        installed(versions)
        done: list[str] = []
        worker_loop.close(Namespace(connection=Namespace(close=lambda done=done: done.append("closed"))))
        assert done == expected


class Base:
    """What is to be seen of Kombu's poller of old."""

    def __init__(self) -> None:
        self.poller = poll()
        self._channels: set[Any] = set()
        self._fd_to_chan: dict[int, Any] = {}
        self._chan_to_sock: dict[Any, Any] = {}
        self.after_read: set[Any] = set()
        self.done: list[str] = []

    def on_poll_start(self) -> None:
        """Ask for jobs."""
        self.done.append("asked")

    def maybe_restore_messages(self) -> None:
        """Look for jobs of dead workers."""
        self.done.append("restored")


@dataclass(frozen=True)
class Source:
    """What has a connection of its own."""

    connection: Any


def test_a_poller_without_a_loop_asks_for_jobs(installed: Installed) -> None:
    """As one with a loop does; and forgets connections that are gone."""
    installed(NEWEST)
    assert redis_polling.poller(Base) is Base
    installed(MIDDLE)
    poller = redis_polling.poller(Base)()
    with pytest.raises(Empty):
        poller.get(None, timeout=0.01)
    assert poller.done == ["asked", "restored"]
    assert poller.on_readable(99) is None
    assert poller.handle_event(99, READ) is None


def test_a_loop_goes_on_asking_when_a_connection_has_gone(installed: Installed) -> None:
    """Only that connection is forgotten."""
    installed(MIDDLE)
    gone, there = object(), object()
    cycle = redis_polling.poller(Base)()
    cycle.maybe_check_subclient_health = list
    cycle._chan_to_sock = {("a", Source(gone), "BELL"): 1, ("a", Source(there), "X"): 2}
    cycle._fd_to_chan = {1: ("a", "BELL"), 2: ("a", "X")}
    with closing(Hub()) as loop:
        loop.on_tick.add(cycle.on_poll_start)
        redis_polling.keep_polling(cycle, Namespace(client=Namespace(transport_options={})), loop)
        cycle._on_connection_disconnect(gone)
        assert loop.on_tick == {cycle.on_poll_start}
        assert cycle._fd_to_chan == {2: ("a", "X")}
        assert len(loop.timer.queue) == 2


def test_the_transport_s_options_are_found() -> None:
    """Where Kombu does not know them."""
    client = Namespace(transport_options={"unacked_restore_interval": 5})
    assert redis_polling.restore_interval(Namespace(connection=Namespace(client=client))) == 5
    client.transport_options = {}
    assert redis_polling.restore_interval(Namespace(connection=Namespace(client=client))) == 10


@pytest.mark.parametrize(("redis", "arguments"), [((5, 2, 1), ("_",)), ((5, 3, 0), ())])
def test_a_pool_of_connections_is_asked_as_it_wants(redis: Any, arguments: Any, installed: Installed) -> None:
    """An older redis-py wants to know what for."""
    installed(OLDEST, redis=redis)
    assert redis_polling.connection_of(Namespace(get_connection=lambda *told: told)) == arguments


def test_queues_know_their_type(installed: Installed) -> None:
    """On the release that does not tell them."""
    installed(OLDEST)
    assert app_settings.typed(
        rabbitmq.Queues, {"task_create_missing_queue_type": "quorum"}
    ).create_missing_queue_type == ("quorum")
    installed(MIDDLE)
    assert app_settings.typed(rabbitmq.Queues, {}) is rabbitmq.Queues
