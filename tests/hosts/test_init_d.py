"""``service celeryd VERB`` on a machine with sysvinit: exit codes, boot order, and what could go wrong beside it."""

from __future__ import annotations

import pytest

from tests.rig.hosts import Host
from tests.rig.managers import POOLS
from tests.rig.waiting import until

pytestmark = pytest.mark.inits("sysvinit")
PATIENCE = 90.0
"""Seconds that a busy machine may take for what an idle one does in a few."""
STRANGER = "/var/run/celery/worker-imports.pid /var/run/celery/default.pid /var/run/celeryd.pid"
"""Where Celery's own scripts and others keep their pid files."""


def test_exit_codes_are_those_of_lsb(host: Host) -> None:
    """0 and 3 of status, 2 for a verb, 6 for a pool or a beat without a file, 4 for a user who may not."""
    assert host.run("service celeryd status")[0] == 0
    assert host.run("service celeryd frobnicate")[0] == 2
    assert host.run("service celeryd restart nobody")[0] == 6
    assert host.run("service celerybeat start")[0] == 6
    assert host.run("chpst -u celery /etc/init.d/celeryd stop")[0] == 4
    host.do("stop")
    assert host.run("service celeryd status")[0] == 3
    assert host.run("service celeryd try-restart")[0] == 0
    assert host.run("service celeryd status")[0] == 3


def test_a_pool_that_cannot_start_is_told_with_its_reason(host: Host) -> None:
    """`start` fails with the last log lines; the pools that can run do, and `status` says which does not."""
    host.pool("imports", CELERY_WORKER_CONCURENCY=3)
    code, said = host.run("service celeryd restart imports")
    assert code == 1
    assert "Did you mean CELERY_WORKER_CONCURRENCY?" in said
    # At each attempt it runs for a moment.
    until(lambda: host.run("service celeryd status")[0] == 1, PATIENCE, lambda: host.run("service celeryd status")[1])
    assert host.ready("default")
    host.pool("imports")
    until(lambda: host.ready("imports"), PATIENCE, "the mended pool, which is tried again and again")


def test_starts_and_stops_at_once_end_in_one_state(host: Host) -> None:
    """Two starts side by side start each pool once; a stop while a start waits leaves nothing running."""
    host.do("stop")
    host.sh("service celeryd start & service celeryd start; wait")
    assert host.sh("pgrep -fc '[c]elerykit worker default$' -P $(pgrep -f '[r]unsv worker-default')").strip() == "1"
    host.do("stop")
    begun = "until pgrep -f '[c]elerykit worker imports' >/dev/null; do sleep 0.05; done"
    host.run(f"service celeryd start & {begun}; service celeryd stop; wait")
    assert host.run("service celeryd status")[0] == 3
    assert host.run("pgrep -f '[c]elerykit worker'")[1] == ""


@pytest.mark.slow
def test_the_script_runs_under_busybox(host: Host) -> None:
    """Verbs that look or act do the same by the shell of busybox as by dash, which is Debian's /bin/sh."""
    assert host.sh("readlink /bin/sh").strip() == "dash"
    host.run("apt-get install -yqq busybox || { apt-get update -qq && apt-get install -yqq busybox; }")
    before = {pool: host.pid(pool) for pool in POOLS}
    for verb, code in [("status", 0), ("dryrun", 0), ("check-paths", 0), ("restart imports", 0), ("stop imports", 0)]:
        assert host.run(f"busybox sh /etc/init.d/celeryd {verb}")[0] == code, verb
    assert host.run("busybox sh /etc/init.d/celeryd status")[0] == 3
    code, said = host.run("busybox sh /etc/init.d/celeryd start")
    assert code == 0 and "worker imports is ready" in said
    assert host.pid("default") == before["default"] and host.pid("imports") not in {0, before["imports"]}


@pytest.mark.parametrize("whose", ["stranger", pytest.param("nobody", marks=pytest.mark.slow)])
def test_a_stale_pid_file_hits_nobody_and_is_in_nobodys_way(host: Host, whose: str) -> None:
    """The number in an old pid file, of a process that ended or of another one, means nothing to any verb."""
    host.do("stop")
    host.sh("setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $! >/tmp/stranger")
    pid = "4194304" if whose == "nobody" else "$(cat /tmp/stranger)"
    host.sh(f"for file in {STRANGER}; do echo {pid} >$file; chown celery $file; done")
    stale = """{"pid": '$(cat /tmp/stranger)', "alive_until": 9e9, "ready": true, "reason": "old"}"""
    host.sh(f"for pool in {' '.join(POOLS)}; do echo '{stale}' >/run/celery/worker-$pool.json; done")
    assert host.run("service celeryd status")[0] == 3
    host.do("start")
    for pool in POOLS:
        assert f'"pid": {host.pid(pool)},' in host.sh(f"cat /run/celery/worker-{pool}.json")
    assert all(map(host.ready, POOLS))
    for verb in ("restart", "stop", "kill"):
        host.do(verb)
    assert host.sh("kill -0 $(cat /tmp/stranger) && echo lives").strip() == "lives"
    host.sh(f"kill $(cat /tmp/stranger); rm -f {STRANGER}")


def test_the_broker_is_there_first_at_a_boot(site: Host) -> None:
    """At a start its link comes before that of celeryd, and at the machine's end after it."""
    links = site.sh("ls /etc/rc2.d /etc/rc6.d").split()
    order = {link[0]: [name[3:] for name in links if name[0] == link[0]] for link in ("S", "K")}
    assert order["S"].index("redis-server") < order["S"].index("celeryd")
    assert order["K"].index("celeryd") < order["K"].index("redis-server")


def test_a_worker_whose_runsv_was_killed_is_watched_again(host: Host) -> None:
    """Its successor takes the pool over: the old worker drains, another starts, and no verb misses one of them."""
    before = host.pid("imports")
    host.client.work(4, 3.0)
    host.wait_running(4)
    host.sh("kill -KILL $(pgrep -f '[r]unsv worker-imports')")
    until(lambda: host.pid("imports") not in {0, before} and host.ready("imports"), PATIENCE, "the pool again")
    until(lambda: host.run(f"kill -0 {before}")[0] != 0, PATIENCE, "the end of the old worker")
    host.assert_nothing_lost()
    host.do("stop")
    assert host.run("pgrep -f '[c]elerykit worker'")[1] == ""


@pytest.mark.slow
def test_nodes_of_an_old_file_are_pools(host: Host) -> None:
    """/etc/default/celeryd of Celery's own script, with nodes and options, starts as it is."""
    host.do("stop")
    host.sh("rm /etc/celery/worker-*.env")
    host.write("/etc/default/celeryd", 'CELERYD_NODES="old"\nCELERYD_OPTS="--concurrency=1"\n')
    host.do("start")
    assert host.ready("old")
    host.do("stop")
    assert host.run("service celeryd status")[0] == 3
