"""What is wrong in an inventory is refused, with variable and remedy, before anything that runs is touched."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from celerykit.brokers import rabbitmq_definitions
from tests.rig.playing import Play, play

if TYPE_CHECKING:
    from tests.rig.hosts import Host

OLD_PYTHON = "/opt/old/python3.9"
OF_REDIS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no-password": ({"redis_password": None}, ("redis_password is not set", "lookup(")),
    "quoting": ({"redis_password": "a/b"}, ("redis_password is set, but", "a URL would need quoted", "lookup(")),
    "no-results-password": (
        {"redis_results_password": None},
        ("redis_results_password is not set", "of the user results in celery_result_backend", ".secrets/redis-results"),
    ),
    "elsewhere": ({"redis_bind": ["192.0.2.1"]}, ("redis_bind has 192.0.2.1", "Its addresses are")),
    "two-servers": (
        {"redis_sentinel": ["192.0.2.1", "192.0.2.2"], "redis_sentinel_password": "sound"},
        ("redis_sentinel has 2 addresses", "an odd number of at least 3", "single server"),
    ),
    "other-servers": (
        {"redis_sentinel": ["192.0.2.1", "192.0.2.2", "192.0.2.3"], "redis_sentinel_password": "sound"},
        ("redis_sentinel has 192.0.2.1", "none is an address of this host", "Name its own"),
    ),
    "no-sentinel-password": (
        {"redis_sentinel": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]},
        ("redis_sentinel_password is not set", "lookup(", ".secrets/redis-sentinel"),
    ),
    "evicting": (
        {"redis_settings": {"maxmemory-policy": "allkeys-lru"}},
        ("redis_settings has maxmemory-policy", "Take it out"),
    ),
    "other-server": (
        {"redis_server": "valkey"},
        ("redis_server=valkey", "is in /var/lib/redis", "apt-get purge redis-server"),
    ),
    "neither": ({"redis_server": "keydb"}, ("redis_server", "keydb", "redis, valkey")),
    "unknown": ({"redis_settings": {"maxclient": 10}}, ("maxclient 10", "correct redis_settings")),
}
ON_RABBITMQ = {"celery_broker": "rabbitmq", "rabbitmq_passwords": dict.fromkeys(rabbitmq_definitions.RIGHTS, "sound")}
OF_RABBITMQ: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no-producer": (
        {**ON_RABBITMQ, "rabbitmq_passwords": {"worker": "sound", "operator": "sound"}},
        ("rabbitmq_passwords.producer is not set", "lookup(", ".secrets/rabbitmq-producer"),
    ),
    "quoting-operator": (
        {**ON_RABBITMQ, "rabbitmq_passwords": {**ON_RABBITMQ["rabbitmq_passwords"], "operator": "a/b"}},
        ("rabbitmq_passwords.operator", "a URL would need quoted"),
    ),
    "foreign": (
        {**ON_RABBITMQ, "rabbitmq_bind": ["127.0.0.1", "192.0.2.1"]},
        ("rabbitmq_bind has 192.0.2.1", "Its addresses are"),
    ),
    "plenty": ({**ON_RABBITMQ, "rabbitmq_memory": "plenty"}, ("rabbitmq_memory=plenty", "2GiB", "0.6")),
}
ON_POSTGRESQL = {"celery_broker": "postgresql", "postgresql_password": "sound"}
OF_POSTGRESQL: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no-verifier": (
        {**ON_POSTGRESQL, "postgresql_password": None},
        ("postgresql_password is not set", "lookup(", ".secrets/postgresql"),
    ),
    "quoting-postgresql": (
        {**ON_POSTGRESQL, "postgresql_password": "a/b"},
        ("postgresql_password is set, but", "a URL would need quoted"),
    ),
    "unreachable": (
        {**ON_POSTGRESQL, "postgresql_bind": ["127.0.0.1", "192.0.2.1"]},
        ("postgresql_bind has 192.0.2.1", "Its addresses are"),
    ),
    "a-lot": ({**ON_POSTGRESQL, "postgresql_memory": "a lot"}, ("postgresql_memory=a lot", "512MB")),
}
TOO_OLD = {
    **dict.fromkeys(
        OF_RABBITMQ,
        ("celery_broker=rabbitmq needs RabbitMQ 4.0 or newer", "Debian 12.", "has 3.10", "celery_broker: redis"),
    ),
    "other-server": ("redis_server=valkey needs Valkey 7.2 or newer", "has none", "redis_server: redis"),
}
"""What is said on Debian 12 instead."""
OF_NEITHER: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unheard-of": (
        {"celery_broker": "kafka"},
        ("celery_broker=kafka is neither redis nor rabbitmq nor postgresql", "Take one of them"),
    ),
}
OF_BACKENDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unkept": (
        {"celery_results": "rabbitmq"},
        ("celery_results=rabbitmq is neither redis nor postgresql", "Take one of them"),
    ),
}
OF_CELERY: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no-app": ({"celery_app": None}, ("celery_app",)),
    "no-broker": ({"celery_broker_url": None}, ("celery_broker_url",)),
    "another-app": (
        {"celery_app": "another"},
        ("celery_app=another", "this host has another app", "/opt/celery/owner", "celery_app_renamed_from: "),
    ),
    "no-source": ({"celery_app_source": {}}, ("celery_app_source", "folder", "git", "wheel", "index")),
    "misspelt": (
        {"celery_workers": [{"name": "default", "options": {"concurency": 2}}]},
        ("CELERY_WORKER_CONCURENCY", "worker-default.env", "CELERY_WORKER_CONCURRENCY"),
    ),
    "twins": (
        {"celery_workers": [{"name": "imports"}, {"name": "imports"}]},
        ("celery_workers[1].name=imports", "two pools are named imports", "Rename one of them"),
    ),
    "dialect": (
        {"celery_workers": [{"name": "default", "options": {"queues": "imports;mails"}}]},
        ("the options of pool default in celery_workers", "CELERY_WORKER_QUEUES=imports;mails"),
    ),
    "unimportable": (
        {
            "celery_app": "broken",
            "celery_app_renamed_from": "plain",
            "celery_app_source": {"folder": "{{ inventory_dir }}/broken"},
        },
        ("CELERY_APP=broken", "no_such_module"),
    ),
    "locked-out": (
        {"celery_broker_url": "redis://celery:another@127.0.0.1:6379/0"},
        ("CELERY_BROKER_URL", "password"),
    ),
    "locked-out-of-results": (
        {"celery_result_backend": "redis://celery:{{ redis_password }}@127.0.0.1:6379/1"},
        ("CELERYKIT_RESULT_BACKEND", "the result backend refuses the login", "ermission"),
    ),
    "old-python": (
        {"ansible_python_interpreter": OLD_PYTHON},
        ("ansible_python_interpreter=", "Python 3.9.2", "3.10", "Install"),
    ),
    "other-broker": (
        {"celery_broker": "rabbitmq"},
        ("celery_broker=rabbitmq", "celery_broker_url begins with redis://", "amqp://"),
    ),
    "other-results": (
        {"celery_results": "postgresql"},
        ("celery_results=postgresql", "celery_result_backend begins with redis://", "db+postgresql"),
    ),
    "other-init": ({"celery_service_manager": "sysvinit"}, ("celery_service_manager=sysvinit", "systemd", "Leave it")),
}
"""By the name of a host: its variables, and what must be said of it."""
REFUSED = OF_REDIS | OF_RABBITMQ | OF_POSTGRESQL | OF_NEITHER | OF_BACKENDS | OF_CELERY
UNITS = "celeryd celeryd@default celeryd@imports celerybeat celery-flower redis-server"
FILES = "/etc /opt/celery/venv /opt/celery/app/current /opt/celery/files.json /opt/celery/pending"
STATE = (
    f"systemctl show --property=Id,MainPID,NRestarts {UNITS}; find {FILES} -xdev -printf '%p %i %s %m %T@\\n' | sort"
)


@dataclass(frozen=True)
class Refusals:
    """What one run of the playbook said of one machine under many names, and how it was before and after."""

    play: Play
    before: str
    after: str


@pytest.fixture(scope="module")
def refusals(machine: Host) -> Refusals:
    """One run for all of it: a machine under as many names as there are mistakes."""
    broken = machine.folder / "broken"
    shutil.copytree(machine.app, broken)
    (broken / "broken.py").write_text("import no_such_module\n")
    machine.write(f"{OLD_PYTHON}", '#!/bin/sh\nPYTHONPATH=/opt/old exec /usr/bin/python3 "$@"\n')
    machine.sh(f"chmod 0755 {OLD_PYTHON}")
    machine.write("/opt/old/sitecustomize.py", 'import platform\nplatform.python_version = lambda: "3.9.2"\n')
    # One without a mistake: a play ends when it has lost all its hosts.
    inventory = machine.inventory({"sound": {}} | {name: variables for name, (variables, _) in REFUSED.items()})
    brokers = OF_REDIS | OF_RABBITMQ | OF_POSTGRESQL | OF_NEITHER
    groups = {"brokers": brokers, "backends": OF_BACKENDS, "workers": OF_CELERY, "beat": [], "monitoring": []}
    for group, names in groups.items():
        inventory[group] = {"hosts": dict.fromkeys(["sound", *names])}
    before = machine.sh(STATE)
    # A login takes one connection, of which sshd lets no more than ten be at work.
    done = play(inventory, machine.folder, "--forks", "5")
    return Refusals(done, before, machine.sh(STATE))


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_its_variable_and_a_remedy(machine: Host, refusals: Refusals, name: str) -> None:
    """The last words of the playbook say where, what, and how to mend it."""
    said = refusals.play.refusal(name)
    words = TOO_OLD.get(name) if machine.kind == "bookworm" else None
    assert [word for word in words or REFUSED[name][1] if word not in said] == [], said


def test_what_runs_is_not_touched(refusals: Refusals) -> None:
    """After all these mistakes every process and every file is as it was."""
    assert refusals.after == refusals.before
    assert (refusals.play.code, refusals.play.changed("sound")) == (2, 0)
    assert "another@" not in refusals.play.text
