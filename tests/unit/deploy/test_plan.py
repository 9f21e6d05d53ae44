"""What a host is to have, as the variables of the role say."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, cast

import pytest

from celerykit.deploy import plan as plans

ROOT = Path(__file__).parents[3]
FILES = ROOT / "roles" / "celery" / "files"
APP = ROOT / "examples" / "sourcestats"
HEADER = "#\n# Ansible managed\n#\n"
TOLD: dict[str, Any] = {
    "files": str(FILES),
    "header": HEADER,
    "service_mgr": "systemd",
    "service_manager": "",
    "managers": ["systemd", "sysvinit", "supervisor"],
    "python": "/usr/bin/python3",
    "python_version": "3.13.5",
    "tags": ["all"],
    "skip_tags": [],
    "instance": "",
    "app": "sourcestats",
    "app_source": {"folder": str(APP)},
    "broker": "",
    "broker_url": "redis://celery:hunter2@h/0",
    "results": "",
    "result_backend": "",
    "workers": [{"name": "default"}],
    "replicas": {},
    "beat": False,
    "beat_options": {},
    "flower": False,
    "flower_options": {},
    "stop_timeout": 600,
    "environment": {},
    "app_env_file": "",
    "kit_source": "",
    "ca_bundle": "",
    "tls_ca": "",
    "index_url": "",
    "wheelhouse": "",
}


@pytest.fixture
def plan() -> Any:
    """Return a function that plans with the variables of the role."""

    def make(**told: Any) -> Any:
        return plans.make(cast("Any", {**TOLD, **told}))

    return make


def files(planned: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the files of a plan by path."""
    return {entry["path"]: entry for entry in planned["files"]}


def text(planned: dict[str, Any], path: str) -> str:
    """Return what a file of the plan is to hold, without the header that each generated file has."""
    entry = files(planned)[path]
    whole = entry.get("text") or entry.get("hidden_text") or ""
    assert whole.startswith(HEADER)
    return str(whole.removeprefix(HEADER))


def test_options_become_variables(plan: Any) -> None:
    """Any option of Celery by its name, values as YAML has them, and variables in capitals as they are."""
    options = {
        "concurrency": 4,
        "prefetch-multiplier": 1,
        "queues": ["imports", "default"],
        "without_gossip": True,
        "autoscale": None,
        "CELERYKIT_LONGEST_JOB": 7200,
    }
    planned = plan(workers=[{"name": "imports", "options": options}])
    assert text(planned, "/etc/celery/worker-imports.env") == (
        "CELERY_WORKER_CONCURRENCY=4\nCELERY_WORKER_PREFETCH_MULTIPLIER=1\nCELERY_WORKER_QUEUES=imports,default\n"
        "CELERY_WORKER_WITHOUT_GOSSIP=true\nCELERYKIT_LONGEST_JOB=7200\n"
    )


def test_secrets_have_files_of_their_own(plan: Any) -> None:
    """URLs and Flower's login are in files for root and celery alone, and no other file holds them."""
    flower = {"basic_auth": "admin:hunter3", "port": 5556}
    planned = plan(result_backend="redis://celery:hunter2@h/1", flower=True, flower_options=flower)
    secrets = [entry for entry in planned["files"] if "hunter" in json.dumps(entry)]
    names = ("broker-url", "result-backend", "flower-basic-auth")
    assert [entry["path"] for entry in secrets] == [f"/etc/celery/{name}" for name in names]
    assert {(entry["mode"], entry["group"], entry["secret"]) for entry in secrets} == {("0640", "celery", True)}
    assert all("text" not in entry for entry in secrets)
    assert text(planned, "/etc/celery/flower.env") == (
        "FLOWER_PORT=5556\nFLOWER_BASIC_AUTH_FILE=/etc/celery/flower-basic-auth\n"
    )
    assert "CELERY_BROKER_URL_FILE=/etc/celery/broker-url\n" in text(planned, "/etc/celery/celery.env")


def test_a_secret_of_the_app_s_own_is_in_no_log(plan: Any) -> None:
    """A variable that is named as a secret makes its whole file one that logs leave out."""
    entry = files(plan(environment={"DJANGO_SECRET_KEY": "hunter2"}))["/etc/celery/celery.env"]
    assert "hunter2" in entry["hidden_text"]


def test_a_file_restarts_who_reads_it(plan: Any) -> None:
    """A pool's own file restarts the pool, celery.env everything; nothing the umbrella, which takes all pools down."""
    planned = plan(workers=[{"name": "a"}, {"name": "b", "limits": {"MemoryMax": "1G"}}], beat=True)
    units = {path: entry.get("units", []) for path, entry in files(planned).items()}
    everything = ["celeryd@a", "celeryd@b", "celerybeat"]
    assert units["/etc/celery/worker-a.env"] == ["celeryd@a"]
    assert units["/etc/systemd/system/celeryd@b.service.d/limits.conf"] == ["celeryd@b"]
    assert units["/etc/celery/beat.env"] == ["celerybeat"]
    assert units["/etc/systemd/system/celeryd@.service"] == everything[:2]
    for path in ("/etc/celery/celery.env", "/etc/celery/broker-url", "/opt/celery/venv", "/opt/celery/app/current"):
        assert units[path] == everything
    assert not any("celeryd" in readers for readers in units.values())
    assert planned["units"] == ["celeryd", *everything]
    assert planned["unwanted"] == ["celery-flower"]


def test_several_processes_are_several_pools(plan: Any) -> None:
    """Pools alike restart one after the other, so that one of them consumes."""
    planned = plan(workers=[{"name": "a", "replicas": 2, "options": {"concurrency": 1}}])
    assert planned["units"] == ["celeryd", "celeryd@a-1", "celeryd@a-2"]
    assert text(planned, "/etc/celery/worker-a-1.env") == text(planned, "/etc/celery/worker-a-2.env")


def test_a_host_says_how_many_processes_a_pool_has(plan: Any) -> None:
    """The first keeps the pool's name and file, which the others share; a host without an app says nothing yet."""
    pool = {"name": "a", "replicas": "auto", "options": {"queues": "a"}}
    assert plan(workers=[pool], replicas={"a": "skipped, since /opt/celery is not there"})["units"][1:] == ["celeryd@a"]
    planned = plan(workers=[pool, {"name": "b"}], replicas={"a": "3"})
    assert planned["units"][1:] == ["celeryd@a", "celeryd@a-2", "celeryd@a-3", "celeryd@b"]
    found = files(planned)
    assert found["/etc/celery/worker-a.env"]["units"] == ["celeryd@a", "celeryd@a-2", "celeryd@a-3"]
    assert found["/etc/celery/worker-a-2.env"]["link"] == "worker-a.env"
    assert found["/etc/celery/worker-b.env"]["units"] == ["celeryd@b"]
    assert planned["candidate"]["files"]["worker-a-3.env"] == planned["candidate"]["files"]["worker-a.env"]


@pytest.mark.parametrize("said", [0, -1, "two", 1.5])
def test_a_number_of_processes_that_is_none_is_refused(plan: Any, said: Any) -> None:
    """With the variable and its place."""
    (error,) = plan(workers=[{"name": "a", "replicas": said}])["errors"]
    assert error.startswith(f"celery_workers[0].replicas={said}: not at least 1. Write a number, or auto")


def test_a_host_without_pools_has_no_umbrella(plan: Any) -> None:
    """A host for beat alone runs beat alone."""
    planned = plan(workers=[], beat=True)
    assert (planned["units"], planned["unwanted"]) == (
        ["celerybeat"],
        ["celeryd", "celery-flower"],
    )


def test_limits_are_lines_of_the_unit(plan: Any) -> None:
    """Any directive of systemd passes, a list as several lines, a truth as systemd spells it."""
    limits = {"MemoryMax": "1G", "Nice": 5, "ReadWritePaths": ["/srv/a", "/srv/b"], "MemoryDenyWriteExecute": False}
    planned = plan(workers=[{"name": "a", "limits": limits}])
    assert text(planned, "/etc/systemd/system/celeryd@a.service.d/limits.conf") == (
        "[Service]\nMemoryMax=1G\nNice=5\nReadWritePaths=/srv/a\nReadWritePaths=/srv/b\nMemoryDenyWriteExecute=no\n"
    )


@pytest.mark.parametrize(
    ("pid_1", "manager", "starts_at_boot"),
    [("systemd", "systemd", True), ("sysvinit", "sysvinit", True), ("sshd", "supervisor", False)],
)
def test_what_the_host_has_manages_its_processes(plan: Any, pid_1: str, manager: str, starts_at_boot: bool) -> None:
    """The manager follows from what the host was booted by; where that is none that is known, supervisor is brought."""
    planned = plan(service_mgr=pid_1)
    assert (planned["manager"], planned["booted"], planned["errors"]) == (manager, starts_at_boot, [])


OF_THE_FIRST = re.compile(r"(?<![\w-])(celery|celeryd|celerybeat|celery-flower|celery-folders)(?![\w-]|\.env)")
"""The name of a unit, folder or user that the app without a name has."""


@pytest.mark.parametrize("pid_1", ["systemd", "sysvinit", "docker-init"])
def test_an_instance_has_nothing_that_the_first_app_has(plan: Any, pid_1: str) -> None:
    """No path, unit, group or line of its files is the other's, whatever manages its processes."""
    first = plan(service_mgr=pid_1, beat=True, flower=True)
    second = plan(service_mgr=pid_1, beat=True, flower=True, instance="second")
    assert not {*files(first)} & {*files(second)}
    assert not {*first["units"]} & {*second["units"]}
    shown = json.dumps({key: second[key] for key in ("files", "units", "unwanted", "judge", "judged")})
    assert OF_THE_FIRST.findall(shown.replace("redis://celery:", "")) == []


def test_an_instance_is_started_after_its_own_broker(plan: Any) -> None:
    """And stopped before it, so that what a drain leaves is given back."""
    unit = files(plan(instance="second"))["/etc/systemd/system/celeryd-second@.service"]["text"]
    (after,) = re.findall("^After=(.*)", unit, re.MULTILINE)
    assert {"redis-server.service", "redis-server@second.service", "valkey-server@second.service"} <= {*after.split()}


def test_runit_of_an_instance_has_a_line_of_its_own_in_inittab(plan: Any) -> None:
    """Of another name, without which init takes one of the two."""
    scripts = [
        files(plan(service_mgr="sysvinit", instance=name))[f"/etc/init.d/{script}"]["text"]
        for name, script in (("", "celeryd"), ("second", "celeryd-second"), ("third", "celeryd-third"))
    ]
    names = [re.findall('^INITTAB_LINE="([^:]{1,4}):.*( .*)"', script, re.MULTILINE) for script in scripts]
    assert len({line[0] for line in names}) == len(scripts)


def test_a_host_with_sysvinit_has_scripts_and_the_same_env_files(plan: Any) -> None:
    """One inventory for both: env files are alike, and scripts are there instead of units."""
    told = {"workers": [{"name": "a", "options": {"concurrency": 4}}], "beat": True}
    units, scripts = files(plan(**told)), files(plan(service_mgr="sysvinit", **told))
    env = [path for path in units if path.startswith(("/etc/celery", "/opt"))]
    assert [units[path] for path in env] == [scripts[path] for path in env]
    assert not [path for path in scripts if "systemd" in path]
    assert (scripts["/etc/init.d/celeryd"]["mode"], scripts["/etc/init.d/celeryd"]["units"]) == (
        "0755",
        ["celeryd@a", "celerybeat"],
    )
    planned = plan(service_mgr="sysvinit", **told)
    assert (planned["units"], planned["unwanted"]) == (["celeryd@a", "celerybeat"], ["celery-flower"])
    assert plan(service_mgr="sysvinit", workers=[])["unwanted"] == ["celeryd", "celerybeat", "celery-flower"]


def test_a_host_with_supervisor_has_a_program_a_process(plan: Any) -> None:
    """Each pool has its own, under the name that systemd has for it, and time for its stop budget."""
    options = {"CELERYKIT_STOP_TIMEOUT": 30}
    planned = plan(service_mgr="sshd", workers=[{"name": "a"}, {"name": "b", "options": options}], flower=True)
    programs = {path: entry for path, entry in files(planned).items() if path.startswith("/etc/supervisor")}
    assert [Path(path).stem for path in programs] == ["celery-folders", "celeryd@a", "celeryd@b", "celery-flower"]
    found = configparser.RawConfigParser()
    found.read_string(programs["/etc/supervisor/conf.d/celeryd@b.conf"]["text"])
    assert found["program:celeryd@b"]["command"] == "/opt/celery/venv/bin/celerykit worker b"
    assert found["program:celeryd@b"]["stopwaitsecs"] == "40"
    assert programs["/etc/supervisor/conf.d/celeryd@b.conf"]["units"] == ["celeryd@b"]
    assert "stopwaitsecs=610\n" in programs["/etc/supervisor/conf.d/celeryd@a.conf"]["text"]


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"workers": [{"name": "a"}, {"name": "a"}]}, "celery_workers[1].name=a: two pools are named a"),
        ({"workers": [{"name": "a", "replicas": 2}, {"name": "a-1"}]}, "two pools are named a-1"),
        ({"workers": [{"name": "a b"}]}, "celery_workers[0].name=a b: not letters"),
        ({"workers": [{"name": "a", "replicas": -1}]}, "celery_workers[0].replicas=-1: not at least 1"),
        (
            {"workers": [{"name": "a", "options": {"queues": "a b"}}]},
            "the options of pool a in celery_workers: CELERY_WORKER_QUEUES=a b",
        ),
        (
            {"workers": [{"name": "a", "limits": {"Nice": "5\n[Install]"}}]},
            "the limits of pool a in celery_workers: Nice=5",
        ),
        ({"broker_url": "hunter2"}, "celery_broker_url: no URL"),
        ({"kit_source": "celerykit"}, "celery_kit_source=celerykit: not one version"),
        ({"environment": {"MY KEY": "1"}}, "celery_environment: MY KEY"),
        ({"broker": "rabbitmq"}, "celery_broker=rabbitmq: celery_broker_url begins with redis://. Begin it with amqp:"),
        (
            {"broker": "postgresql"},
            "celery_broker=postgresql: celery_broker_url begins with redis://. Begin it with pgmq:",
        ),
        (
            {"results": "postgresql", "result_backend": "redis://h/1"},
            "celery_results=postgresql: celery_result_backend begins with redis://. Begin it with db+postgresql",
        ),
        ({"environment": {"URL": "redis://u:hunter2@h/?a=1&b=2"}}, "URL=redis://u:***@h/?a=1&b=2: '&'"),
        ({"app_source": {}}, "celery_app_source=nothing: not exactly one of folder, git, wheel, index"),
        ({"app_source": {"folder": "a", "index": "b"}}, "celery_app_source=folder, index"),
        ({"app_source": {"folder": "/no/such"}}, "celery_app_source.folder=/no/such: No such file or directory"),
        ({"app_source": {"folder": "myapp"}}, "celery_app_source.folder=myapp: not an absolute path"),
        ({"ca_bundle": "ca.pem"}, "celery_ca_bundle=ca.pem: cannot be read: not an absolute path"),
        ({"wheelhouse": str(ROOT)}, "no wheel is in it"),
        ({"app_source": {"index": "myapp>=1"}}, "celery_app_source.index=myapp>=1: not pinned"),
        ({"app_source": {"wheel": "/myapp.zip"}}, "celery_app_source.wheel=/myapp.zip: no wheel"),
        ({"python_version": "3.9.2"}, "ansible_python_interpreter=/usr/bin/python3: that is Python 3.9.2"),
        ({"python_version": "3.15.0"}, "celerykit needs 3.10 to 3.14"),
        ({"service_manager": "sysvinit"}, "celery_service_manager=sysvinit: PID 1 of this host is not that, but"),
        ({"service_manager": "supervisor"}, "celery_service_manager=supervisor: PID 1 of this host is not that"),
        ({"service_mgr": "sshd", "service_manager": "systemd"}, "celery_service_manager=systemd: PID 1 of this host"),
        ({"service_mgr": "sysvinit", "managers": ["systemd"]}, "not known on this family of systems"),
        (
            {"service_mgr": "sysvinit", "workers": [{"name": "a", "limits": {"Nice": 5}}]},
            "celery_workers[0].limits: directives of systemd, and this host has sysvinit",
        ),
        ({"tls_ca": "/no/such.pem"}, "celery_tls_ca=/no/such.pem: cannot be read"),
        ({"ca_bundle": "/no/such.pem"}, "celery_ca_bundle=/no/such.pem: cannot be read"),
        ({"wheelhouse": "/no/such"}, "celery_wheelhouse=/no/such: No such file or directory"),
    ],
)
def test_what_cannot_work_is_refused(plan: Any, told: dict[str, Any], error: str) -> None:
    """Before anything is changed, with the variable, the value and what is wrong, and no password."""
    planned = plan(**told)
    assert [line for line in planned["errors"] if error in line], planned["errors"]
    assert "hunter2" not in "".join(planned["errors"])


def test_a_release_is_named_after_what_is_in_it(plan: Any, tmp_path: Path) -> None:
    """The same app is the same release, on every host and at every run; a changed line is another one."""
    (tmp_path / "app").mkdir()
    module = tmp_path / "app" / "myapp.py"
    module.write_text("one")
    source = {"folder": str(tmp_path / "app")}
    first = plan(app_source=source)["app"]["release"]
    assert plan(app_source=source)["app"]["release"] == first
    module.write_text("two")
    assert plan(app_source=source)["app"]["release"] != first


@pytest.mark.parametrize(
    ("told", "has_client"),
    [
        ({}, False),
        ({"broker_url": "pgmq://celery:hunter2@h/celery"}, True),
        ({"result_backend": "db+postgresql+psycopg://celery:hunter2@h/celery?connect_timeout=5"}, True),
        ({"result_backend": "db+mysql://celery:hunter2@h/celery"}, False),
    ],
)
def test_the_client_of_postgresql_is_there_where_a_url_is_of_it(
    plan: Any, told: dict[str, Any], has_client: bool
) -> None:
    """Nobody has to know which packages it takes; a change of the URL makes another virtualenv."""
    kit = plan(**told)["kit"]
    with zipfile.ZipFile(kit["archive"]) as archive:
        assert ("postgresql" in archive.read("extras.txt").decode().split()) is has_client
    assert (kit["id"] != plan()["kit"]["id"]) is has_client


def test_another_python_is_another_virtualenv(plan: Any) -> None:
    """A host that was upgraded to a new Python gets a virtualenv and a release of its own for it."""
    one, other = plan(), plan(python_version="3.14.0")
    assert one["kit"]["venv"] != other["kit"]["venv"]
    assert one["app"]["release"] != other["app"]["release"]


def test_tags_select_phases(plan: Any) -> None:
    """`--tags app` deploys the app, with the kit that runs it, and judges it under the env files that are there."""
    app = plan(tags=["app"])
    assert (app["phases"], app["candidate"]["files"]) == (["kit", "app"], {})
    assert (app["units"], app["if_enabled"]) == (["celeryd", "celeryd@default"],) * 2
    assert app["unwanted"] == []
    pools = plan(tags=["pools"])
    assert (pools["if_enabled"], pools["unwanted"]) == ([], [])
    assert pools["judged"] == "/opt/celery/app/current"
    assert pools["judge"] == "/opt/celery/venv/bin/celerykit"
    assert "beat" not in plan(skip_tags=["beat"])["phases"]


def test_the_network_s_ways_are_for_the_installation_alone(plan: Any, tmp_path: Path) -> None:
    """The CA, the index and the wheels are in what the installation reads, and in no file of the host."""
    (tmp_path / "ca.pem").write_text("CERTIFICATE")
    (tmp_path / "a-1-py3-none-any.whl").write_text("wheel")
    told = {
        "ca_bundle": str(tmp_path / "ca.pem"),
        "index_url": "https://u:index-password@index",
        "wheelhouse": str(tmp_path),
    }
    planned = plan(**told)
    assert planned["network"]["ca"] == "CERTIFICATE"
    assert planned["network"]["wheelhouse"] == f"/opt/celery/incoming/{Path(planned['wheelhouse']).name}"
    assert not any(word in json.dumps(planned["files"]) for word in ("CERTIFICATE", "index-password", "wheels-"))


def test_whom_processes_trust_is_on_the_host_and_restarts_nothing(plan: Any, tmp_path: Path) -> None:
    """It is read at each connection, and what is judged before it is in place has it, too."""
    (tmp_path / "ca.pem").write_text("CERTIFICATE")
    planned = plan(tls_ca=str(tmp_path / "ca.pem"))
    (file,) = [file for file in planned["files"] if file["path"] == "/etc/celery/ca.pem"]
    assert (file["text"], file["mode"], file["units"]) == ("CERTIFICATE", "0640", [])
    assert planned["candidate"]["files"]["ca.pem"] == "CERTIFICATE"
    assert "CELERYKIT_TLS_CA=/etc/celery/ca.pem\n" in planned["candidate"]["files"]["celery.env"]


def test_the_plan_needs_no_package_but_the_kit(tmp_path: Path) -> None:
    """Ansible has it made on the machine that runs it, on any Python of the kit's, and reads the answer as JSON."""
    command = [sys.executable, "-S", "-m", "celerykit.deploy", "plan"]
    environ = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, input=json.dumps(TOLD), env=environ, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["errors"] == []


def test_a_change_of_the_planning_restarts_no_worker(plan: Any, tmp_path: Path) -> None:
    """A host does not run it, so that its virtualenv stays; a change of what runs there makes another one."""
    shutil.copytree(FILES, tmp_path / "files", ignore=shutil.ignore_patterns("__pycache__"))
    there, package = {"files": str(tmp_path / "files")}, tmp_path / "files/kit/src/celerykit"
    before = plan(**there)["kit"]["id"]
    (package / "deploy/plan.py").write_text("changed")
    assert plan(**there)["kit"]["id"] == before
    (package / "launch.py").write_text("changed")
    assert plan(**there)["kit"]["id"] != before


def test_what_the_app_reads_for_itself_is_kept_like_a_password(plan: Any, tmp_path: Path) -> None:
    """In a file of its own with values of any characters, which only root and the processes read, and no log shows."""
    (tmp_path / "own.env").write_text("SECRET_KEY='a $b #c & \\'\n")
    planned = plan(app_env_file=str(tmp_path / "own.env"))
    (file,) = [file for file in planned["files"] if file["path"] == "/etc/celery/app.env"]
    assert (file["mode"], file["group"], "hidden_text" in file, bool(file["units"])) == ("0640", "celery", True, True)
    assert "CELERYKIT_APP_ENV_FILE=/etc/celery/app.env\n" in planned["candidate"]["files"]["celery.env"]
    assert "celery_app_env_file=/no: cannot be read" in "".join(plan(app_env_file="/no")["errors"])


def test_a_result_backend_of_the_inventory_gives_way_to_the_app_s(plan: Any) -> None:
    """It goes by the kit's own variable, which lies below what the app says."""
    told = plan(result_backend="redis://results:hunter2@h/1")["candidate"]["files"]["celery.env"]
    assert "CELERYKIT_RESULT_BACKEND_FILE=/etc/celery/result-backend\n" in told and "CELERY_RESULT_BACKEND" not in told
