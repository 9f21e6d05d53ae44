# ruff: noqa: D102  # what a method does is said once, in Manager
"""What starts, watches and stops the processes of a host, by the words that an operator types there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tests.rig.waiting import until

if TYPE_CHECKING:
    from tests.rig.hosts import Host

POOLS = ("default", "imports")
"""What is deployed to each host, with beat and Flower."""
PROCESSES = (*POOLS, "beat", "flower")
UNITS = {"beat": "celerybeat", "flower": "celery-flower"}
REDIS, VALKEY, RABBITMQ = "redis-server", "valkey-server", "rabbitmq-server"
POSTGRESQL = "postgresql@17-celery"


def unit(process: str) -> str:
    """Return what systemd and supervisor call a pool, beat or Flower."""
    return UNITS.get(process, f"celeryd@{process}")


class Manager(Protocol):
    """Questions and verbs that each service manager answers."""

    name: str
    listing: str
    """The command that lists what there is, enabled or not."""
    switched_off: str
    """The command that stops and disables some of it, as somebody does by hand."""

    def verb(self, verb: str, pool: str = "") -> str:
        """Return the command that starts, stops or restarts all pools or one; it ends when the pools are so."""

    def pid(self, process: str) -> int:
        """Return the main process of a pool, of beat or of Flower, 0 if there is none."""

    def signal(self, pool: str, name: str) -> str:
        """Return the command that sends a signal to every process of a pool."""

    def log(self, process: str = "*") -> str:
        """Return the last that it has said."""

    def add(self, pool: str) -> None:
        """Let a pool that has an env file be one of the host's."""

    def bound_stop(self, pool: str) -> None:
        """Let a stop of a pool be waited for a few seconds only, before it is killed."""

    def turn_off(self) -> None:
        """Stop everything but the broker, now and at boot, and take away what was put there by hand."""

    def is_on(self, process: str) -> bool:
        """Say whether it comes with the machine, or with what runs there instead of an init."""

    def wait_booted(self) -> None:
        """Wait until everything has been started that comes with the machine."""


class Systemd:
    """Units."""

    name = "systemd"
    listing = "systemctl list-units --all --plain 'celeryd@*'; ls -R /etc/systemd/system"
    switched_off = "systemctl disable -q --now celeryd@default celerybeat redis-server"

    def __init__(self, host: Host):
        self.host = host

    def verb(self, verb: str, pool: str = "") -> str:
        return f"systemctl {verb} celeryd{f'@{pool}' * bool(pool)}"

    def pid(self, process: str) -> int:
        return int(self.host.show(unit(process), "MainPID"))

    def signal(self, pool: str, name: str) -> str:
        return f"systemctl kill --signal={name} {unit(pool)}"

    def log(self, process: str = "*") -> str:
        name = "celeryd*" if process == "*" else unit(process)
        return self.host.run(f"journalctl --no-pager -n 60 -u '{name}'")[1]

    def add(self, pool: str) -> None:
        self.host.sh(f"systemctl enable -q {unit(pool)}")

    def bound_stop(self, pool: str) -> None:
        self.host.drop_in(pool, "TimeoutStopSec=3")

    def turn_off(self) -> None:
        self.host.run("systemctl disable -q --now celerybeat celery-flower")
        self.host.run("systemctl stop celeryd 'celeryd@*'; systemctl reset-failed")
        self.host.run("rm -rf /etc/systemd/system/celeryd.service.wants")
        self.host.run("rm -rf /etc/systemd/system/celeryd@*.service.d/test.conf; systemctl daemon-reload")

    def is_on(self, process: str) -> bool:
        return self.host.run(f"systemctl is-enabled -q {unit(process)}")[0] == 0

    def wait_booted(self) -> None:
        asked = "systemctl is-system-running"
        until(lambda: self.host.run(asked)[1].strip() in {"running", "degraded"}, 180, "a boot")


class Sysvinit:
    """The scripts of init.d, over runit."""

    name = "sysvinit"
    listing = "service celeryd status && ls /var/lib/celeryd /run/celeryd"
    switched_off = "service celeryd stop default; update-rc.d celerybeat disable; service redis-server stop"

    def __init__(self, host: Host):
        self.host = host

    def verb(self, verb: str, pool: str = "") -> str:
        return f"service celeryd {verb} {pool}"

    def pid(self, process: str) -> int:
        service = process if process in UNITS else f"worker-{process}"
        find = "sed -n 's/^run: [^(]*(pid \\([0-9]*\\)).*/\\1/p'"
        return int(self.host.run(f"sv status /var/lib/celeryd/{service} | {find}")[1] or 0)

    def signal(self, pool: str, name: str) -> str:
        return f"kill -s {name} -- -{self.pid(pool)}"

    def log(self, process: str = "*") -> str:
        name = process if process in {*UNITS, "*"} else f"worker-{process}"
        return self.host.run(f"for file in /var/log/celery/{name}/current; do tail -n 60 $file; done")[1]

    def add(self, pool: str) -> None:
        """The env file is all that a pool needs."""

    def bound_stop(self, pool: str) -> None:
        # And ten seconds.
        self.host.pool(pool, CELERYKIT_STOP_TIMEOUT=1)

    def rotate_often(self, pool: str) -> None:
        """Begin another file of a pool's log every few kilobytes."""
        log = f"/var/log/celery/worker-{pool}"
        self.host.pool(pool, CELERY_WORKER_LOGLEVEL="INFO")
        self.host.sh(f"printf 's4096\\nn1000\\n' >{log}/config")
        self.host.do("restart", pool)
        self.host.sh(f"sv hup /var/lib/celeryd/worker-{pool}/log")

    def whole_log(self, pool: str) -> list[str]:
        """Return the files of a pool's log, and put its size back."""
        log = f"/var/log/celery/worker-{pool}"
        texts = [self.host.sh(f"cat {file}") for file in self.host.sh(f"ls {log}/@* {log}/current").split()]
        self.host.sh(f"rm {log}/config; sv hup /var/lib/celeryd/worker-{pool}/log")
        return texts

    def turn_off(self) -> None:
        # A service without a file leaves nothing behind.
        self.host.run("rm -f /etc/celery/worker-*.env /etc/celery/beat.env /etc/celery/flower.env")
        for script in (*UNITS.values(), "celeryd"):
            self.host.run(f"service {script} stop; update-rc.d -f {script} remove")
        self.host.run("update-rc.d celeryd defaults; rm -f /etc/default/celeryd")

    def is_on(self, process: str) -> bool:
        script, _, pool = unit(process).partition("@")
        file = f"/etc/celery/worker-{pool}.env" if pool else "/"
        return self.host.run(f"ls /etc/rc2.d/S??{script} {file}")[0] == 0

    def wait_booted(self) -> None:
        ended = "runlevel | grep -qx 'N 2' && ! pgrep -f '[i]nit.d/rc [0-9S]' && ss -ltnH 'sport = :22' | grep -q ."
        until(lambda: self.host.run(ended)[0] == 0, 180, "a boot")


class Supervisor:
    """The programs of supervisor, on a machine on which nobody starts anything at boot."""

    name = "supervisor"
    listing = "supervisorctl status | grep -v folders; ls /etc/supervisor/conf.d"
    switched_off = "supervisorctl stop celeryd@default celerybeat; rm /etc/supervisor/conf.d/celerybeat.conf; " + (
        "service redis-server stop"
    )

    def __init__(self, host: Host):
        self.host = host

    def verb(self, verb: str, pool: str = "") -> str:
        units = " ".join(map(unit, [pool] if pool else POOLS))
        ready = " && ".join(f"{self.host.probe(name)}" for name in ([pool] if pool else POOLS))
        wait = f"timeout 120 sh -c 'until {ready}; do sleep 0.2; done' >/dev/null"
        return f"supervisorctl {verb} {units}" + f" && {wait}" * (verb != "stop")

    def pid(self, process: str) -> int:
        said = self.host.run(f"supervisorctl pid {unit(process)}")[1].strip()
        return int(said) if said.isdigit() else 0

    def signal(self, pool: str, name: str) -> str:
        return f"kill -s {name} -- -{self.pid(pool)}"

    def log(self, process: str = "*") -> str:
        name = process if process == "*" else unit(process)
        own = "tail -n 30 /var/log/supervisor/supervisord.log; supervisorctl status"
        return self.host.run(f"{own}; for file in /var/log/celery/{name}.log; do tail -n 60 $file; done")[1]

    def add(self, pool: str) -> None:
        source = "/opt/celery/program"
        change = f"sed 's/@default/@{pool}/; s/worker default/worker {pool}/; s/^stopwaitsecs=.*/stopwaitsecs=70/'"
        self.host.sh(
            f"{change} {source} >/etc/supervisor/conf.d/{unit(pool)}.conf && supervisorctl update {unit(pool)}"
        )

    def bound_stop(self, pool: str) -> None:
        file = f"/etc/supervisor/conf.d/{unit(pool)}.conf"
        self.host.sh(f"sed -i 's/^stopwaitsecs=.*/stopwaitsecs=3/' {file} && supervisorctl update {unit(pool)}")
        self.host.do("start", pool)

    def rotate_often(self, pool: str) -> None:
        """Begin another file of a pool's log every few kilobytes."""
        file = f"/etc/supervisor/conf.d/{unit(pool)}.conf"
        small = "s/maxbytes=.*/maxbytes=4KB/; s/backups=.*/backups=1000/"
        self.host.pool(pool, CELERY_WORKER_LOGLEVEL="INFO")
        self.host.sh(f"supervisorctl stop {unit(pool)}; sed -i '{small}' {file} && supervisorctl update {unit(pool)}")
        self.host.do("start", pool)

    def whole_log(self, pool: str) -> list[str]:
        """Return the files of a pool's log."""
        return [self.host.sh(f"cat {file}") for file in self.host.sh(f"ls /var/log/celery/{unit(pool)}.log*").split()]

    def turn_off(self) -> None:
        self.host.run("cp /etc/supervisor/conf.d/celeryd@default.conf /opt/celery/program")
        self.host.run(
            "supervisorctl stop all; rm -f /etc/supervisor/conf.d/celeryd@* /etc/supervisor/conf.d/celerybeat*"
        )
        self.host.run("rm -f /etc/supervisor/conf.d/celery-flower*; supervisorctl update")

    def is_on(self, process: str) -> bool:
        return self.host.run(f"ls /etc/supervisor/conf.d/{unit(process)}.conf")[0] == 0

    def wait_booted(self) -> None:
        until(lambda: self.host.run("ss -ltnH 'sport = :22'")[1].strip(), 60, "sshd")
        # What somebody does there who starts such a machine.
        for service in (REDIS, "supervisor"):
            self.host.run(f"test ! -x /etc/init.d/{service} || service {service} start")
