"""Two test hosts: containers that Ansible treats as machines, deployed by the kit's own playbook."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import time
from pathlib import Path

import debian
import host
import testhosts
from console import SetupError, output_of, run, say, step

HOSTS = {f"celerykit-host-{number}": suite for number, suite in enumerate(debian.SUITES, 1)}
NETWORK = "celerykit-hosts"
FOLDER = Path(".hosts")
KEY = FOLDER / "key"
INVENTORY = FOLDER / "inventory.yml"
FILES = Path(".venv/lib")
"""The folder whose files the example counts: all hosts mount it under one path."""
MADE_ONCE = "lookup('ansible.builtin.password', inventory_dir ~ '/{}', chars=['hexdigits'], length=48)"
BOOT_TIMEOUT = 120
FLAGS = (
    # The rights for systemd as PID 1 and for Debian's own sandboxed units, without `--privileged`.
    *("--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "--cap-add=NET_ADMIN", "--security-opt=seccomp=unconfined"),
    *("--cgroupns=private", "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp"),
)


def up() -> None:
    """Start both hosts and deploy to them; continue an earlier run."""
    FOLDER.mkdir(exist_ok=True)
    with step(f"hosts: {', '.join(HOSTS)} let us in"):
        if not KEY.exists():
            _do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "celerykit test hosts", "-f", str(KEY))
        if output_of("docker", "network", "inspect", NETWORK) is None:
            _do("docker", "network", "create", NETWORK)
        for name, suite in HOSTS.items():
            _start(name, suite)
    INVENTORY.write_text(_inventory(), encoding="utf-8")
    with step(f"deployed: ansible-playbook -i {INVENTORY} site.yml"):
        run(
            "hosts",
            [".venv/bin/ansible-playbook", "-i", str(INVENTORY), "site.yml"],
            "See its last lines above. The same command goes on where this one stopped",
            {**os.environ, "PATH": f"{Path('.venv/bin').resolve()}{os.pathsep}{os.environ['PATH']}"},
        )
    _run_example()
    _explain()


def down() -> None:
    """Remove both hosts with all that is on them."""
    there = [name for name in HOSTS if _state(name)]
    with step(f"hosts: {', '.join(there) or 'none there'}, removed"):
        if there:
            _do("docker", "rm", "--force", "--volumes", *there)
        output_of("docker", "network", "rm", NETWORK)
        shutil.rmtree(FOLDER, ignore_errors=True)


def require_ssh() -> None:
    """Check that this machine can log in to another.

    :raises SetupError: if it has no ssh.
    """
    missing = [name for name in ("ssh", "ssh-keygen") if not shutil.which(name)]
    if missing:
        raise SetupError(f"there is no '{missing[0]}' command", "Install it; Debian: apt-get install openssh-client")


def _start(name: str, suite: str) -> None:
    """Start a host, and allow the key to log in."""
    state = _state(name)
    if not state:
        _do(
            *("docker", "run", "--detach", "--name", name, "--hostname", name, "--network", NETWORK, *FLAGS),
            # A port of Docker's choice would change at each reboot.
            *("--publish", f"127.0.0.1:{_free_port()}:22", "--volume", f"{FILES.resolve()}:/srv/files:ro"),
            testhosts.image(suite),
        )
    elif state != "running":
        _do("docker", "start", name)
    _wait_booted(name)
    public = KEY.with_name("key.pub").read_text(encoding="utf-8")
    login = "install -d -o admin -m 0700 ~admin/.ssh && cat >~admin/.ssh/authorized_keys"
    _do("docker", "exec", "--interactive", name, "sh", "-c", login, text=public)


def _state(name: str) -> str:
    """Return the state of a container by Docker, an empty string if there is none."""
    return output_of("docker", "container", "inspect", "--format", "{{.State.Status}}", name) or ""


def _wait_booted(name: str) -> None:
    give_up = time.monotonic() + BOOT_TIMEOUT
    while output_of("docker", "exec", name, "systemctl", "is-active", "ssh.service") != "active":
        if time.monotonic() > give_up:
            raise SetupError(
                f"{name} did not boot within {BOOT_TIMEOUT} s",
                f"Look at: docker exec {name} systemctl list-jobs; 'make hosts-down' removes it",
            )
        time.sleep(0.5)


def _port(name: str) -> int:
    published = output_of("docker", "port", name, "22/tcp") or ""
    return int(published.splitlines()[0].rpartition(":")[2])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _do(*command: str, text: str | None = None) -> None:
    """Run a quick command.

    :raises SetupError: with the end of its output, if it fails.
    """
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        output = (done.stdout + done.stderr).strip()[-300:]
        raise SetupError(f"'{' '.join(command[:3])} ...' failed: {output}", "Begin anew: make hosts-down")


def _inventory() -> str:
    """Return the inventory, as for several machines apart from their addresses."""
    first, second = HOSTS
    bundle = host.ca_bundle()
    hosts_file = (FOLDER / "known_hosts").resolve()
    return f"""\
# Written by make hosts: broker, beat, Flower and workers on one host, workers alone on the other.
all:
  vars:
    ansible_host: 127.0.0.1
    ansible_user: admin
    ansible_ssh_private_key_file: "{KEY.resolve()}"
    ansible_ssh_common_args: -o UserKnownHostsFile={shlex.quote(str(hosts_file))} -o StrictHostKeyChecking=accept-new
    redis_password: "{{{{ {MADE_ONCE.format("redis")} }}}}"
    redis_results_password: "{{{{ {MADE_ONCE.format("redis-results")} }}}}"
    celery_app: sourcestats
    celery_app_source: {{ folder: "{Path("examples/sourcestats").resolve()}" }}
    celery_broker_url: "redis://celery:{{{{ redis_password }}}}@{first}:6379/0"
    celery_result_backend: "redis://results:{{{{ redis_results_password }}}}@{first}:6379/1"
    celery_ca_bundle: "{bundle or ""}"
brokers:
  hosts:
    {first}:
      ansible_port: {_port(first)}
      # The network of these containers alone.
      redis_bind: ["*", "-::*"]
backends:
workers:
  hosts:
    {first}:
    {second}:
      ansible_port: {_port(second)}
beat:
  hosts:
    {first}:
monitoring:
  hosts:
    {first}:
"""


def _run_example() -> None:
    """Run jobs of the example app on both hosts, sent from the first as its user there.

    :raises SetupError: if they do not all succeed.
    """
    name = next(iter(HOSTS))
    urls = "CELERY_BROKER_URL=$(cat broker-url) CELERY_RESULT_BACKEND=$(cat result-backend)"
    send = (
        f"{urls} exec env -C /opt/celery/app/current /opt/celery/venv/bin/python -m sourcestats --limit 500 /srv/files"
    )
    say("examples/sourcestats: a job for each file of a folder that both hosts see")
    command = ["docker", "exec", "--user", "celery", "--workdir", "/etc/celery", name, "sh", "-c", send]
    if subprocess.run(command, check=False).returncode:
        raise SetupError(
            "the example's jobs did not all succeed", f"Look at: docker exec {name} journalctl -u 'celery*'"
        )


def _explain() -> None:
    first, second = HOSTS
    say("")
    say(f"Both hosts are deployed. Log in: docker exec -it {first} bash; reboot one: docker restart {second}")
    say("There: systemctl status celeryd, systemctl restart celeryd, /opt/celery/venv/bin/celerykit status")
    say(f"Deploy again after a change: .venv/bin/ansible-playbook -i {INVENTORY} site.yml")
