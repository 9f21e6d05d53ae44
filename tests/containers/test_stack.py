"""The stack of ``docker compose up``: what it keeps, what it hides and what it refuses."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.rig.compose import BARE, ROOT, Stack
from tests.rig.ledger import Ledger
from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.client import Client

#: These only look at one stack, which one of the parallel runners brings up for all of them.
looks = pytest.mark.xdist_group("whole")
SERVICES = ["redis", "worker", "beat", "flower"]
ETA = 25.0
"""Seconds; long enough for the stack to go down and come up while the job waits."""


@pytest.fixture
def ledger(folder: Path) -> Ledger:
    """The ledger outside of the stack."""
    return Ledger(folder)


@pytest.fixture
def stack(ledger: Ledger) -> Iterator[Stack]:
    """A stack with the survival apps, not yet up."""
    name = f"celerykit-test-{secrets.token_hex(4)}"
    stack = Stack.with_ledger(name, ledger, CELERYKIT_LONGEST_JOB="60", CELERYKIT_STOP_TIMEOUT="30")
    try:
        yield stack
    finally:
        stack.remove()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole stack that is up, Flower included, for tests that only look."""
    ledger = Ledger(tmp_path_factory.mktemp("whole"))
    name = f"celerykit-test-{secrets.token_hex(4)}"
    own = ledger.folder / "app.env"
    own.write_text("SECRET_KEY=a $b #c & d\n")
    own.chmod(0o644)
    told = {"CELERYKIT_FLOWER_PORT": "0", "COMPOSE_PROFILES": "flower", "CELERY_APP": "beating"}
    stack = Stack.with_ledger(name, ledger, **told, CELERYKIT_APP_ENV_FILE=str(own))
    try:
        stack.up()
        yield stack
    finally:
        stack.remove()


def assert_all_done(ledger: Ledger, client: Client, seconds: float) -> None:
    """Every accepted job was done once, and the broker holds none back."""
    until(lambda: not ledger.account().lost, seconds, lambda: str(ledger.account()))
    assert not ledger.account().started_twice, str(ledger.account())
    until(lambda: client.queued() + client.unacknowledged() == 0, 90, "an empty broker")


def test_jobs_survive_compose_down_and_up(stack: Stack, ledger: Ledger) -> None:
    """Queued jobs, running ones and one that waits for its ETA are done after `down` and `up`, each once."""
    stack.up("worker")
    client = stack.client(ledger)
    due = time.time() + ETA
    waiting = client.submit("jobs.work", 0.1, countdown=ETA) or ""
    client.work(40, 0.5)
    until(lambda: ledger.account().running, 60, "running jobs", pause=0.05)
    stack.compose("down")
    assert len(ledger.account().lost) > 1, "every job was done before the stack was down, so this proves nothing"
    stack.up("worker")
    client = stack.client(ledger)
    assert_all_done(ledger, client, 180)
    started = ledger.first("start", waiting)
    assert started and started >= due - 1


def test_a_restart_of_the_worker_service_loses_nothing(stack: Stack, ledger: Ledger) -> None:
    """`docker compose restart worker` with two workers under load: each job is done, and once."""
    stack.up("worker", workers=2)
    client = stack.client(ledger)
    client.work(40, 0.5)
    until(lambda: ledger.account().running, 60, "running jobs", pause=0.05)
    stack.compose("restart", "worker")
    assert_all_done(ledger, client, 180)
    assert len({entry.host for entry in ledger.entries() if entry.kind == "start"}) == 2, "both workers took part"


def test_your_own_app_needs_no_file_of_ours_edited(tmp_path: Path) -> None:
    """`CELERYKIT_APP_DIR=... CELERY_APP=... docker compose up`, with a setting and the Celery that the app pins."""
    folder = tmp_path / "somewhere" / "shop"
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("-r needs/base.txt\ncelery==5.6.3\nkombu==5.6.2\nredis==6.4.0\n")
    (folder / "needs").mkdir()
    (folder / "needs" / "base.txt").write_text("iniconfig==2.1.0\n")
    (folder / ".#shop.py").symlink_to("nobody@nowhere")
    (folder / "shop.py").write_text(
        "import celery, iniconfig, kombu, redis\n"
        "app = celery.Celery('shop')\n"
        "app.conf.timezone = 'Europe/Berlin'\n"
        "@app.task\n"
        "def add(x, y):\n"
        "    return x + y, celery.__version__, kombu.__version__, redis.__version__\n"
    )
    environment = {"CELERYKIT_APP_DIR": str(folder), "CELERY_APP": "shop"}
    stack = Stack(f"celerykit-test-{secrets.token_hex(4)}", BARE, environment)
    try:
        stack.up()
        command = "from shop import add; print(add.delay(40, 2).get(timeout=30))"
        answer = stack.compose("run", "--rm", "--no-deps", "--no-TTY", "client", "python", "-c", command)
        assert answer.strip() == "[42, '5.6.3', '5.6.2', '6.4.0']"
        said = stack.compose("logs", "app")
        assert ".#shop.py: a link to what is not there" in said and "not pinned by the app" in said
    finally:
        stack.remove()


def test_two_folders_of_one_name_are_not_one_stack(tmp_path: Path) -> None:
    """A second checkout is refused with the way out, and no job of the first is given to its app."""
    project = f"celerykit-test-{secrets.token_hex(4)}"
    first, second = ((tmp_path / name) for name in ("first", "second"))
    stacks = []
    for folder in (first, second):
        app = folder / "myapp"
        app.mkdir(parents=True)
        code = f"import celery\napp = celery.Celery()\n@app.task\ndef of_{folder.name}(): return {folder.name!r}\n"
        (app / "app.py").write_text(code)
        told = {"CELERYKIT_APP_DIR": "./myapp", "CELERY_APP": "app", "COMPOSE_PROJECT_NAME": project}
        stacks.append(Stack.of_folder(project, folder, told))
    try:
        stacks[0].up("worker")
        stacks[0].compose("stop", "worker")
        client = ("run", "--rm", "--no-deps", "--no-TTY", "client", "python", "-c")
        job = stacks[0].compose(*client, "from app import of_first as job; print(job.delay())").strip()
        asked = "import sys; sys.path.insert(0, {!r}); import stack; stack.require_own()".format(str(ROOT / "scripts"))
        scripts = subprocess.run(
            ["python3", "-c", asked],
            cwd=second,
            env={**os.environ, "COMPOSE_PROJECT_NAME": project},
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"COMPOSE_PROJECT_NAME={project}: the stack of this name is that of" in scripts.stderr
        with pytest.raises(AssertionError, match="passwords"):
            stacks[1].up("worker")
        said = stacks[1].compose("logs", "--no-log-prefix", "passwords")
        for word in (f"COMPOSE_PROJECT_NAME={project}", str(first), str(second), f"CELERYKIT_MOVED_FROM={first}"):
            assert word in said
        stacks[0].up("worker")
        code = f"from app import app; print(app.AsyncResult({job!r}).get(timeout=30))"
        assert stacks[0].compose(*client, code).strip() == "first"
    finally:
        stacks[0].remove()


@pytest.mark.parametrize("listed", [True, False])
def test_an_override_holds_with_other_files_or_is_named(tmp_path: Path, *, listed: bool) -> None:
    """What the app reads reaches its worker on RabbitMQ, too; where the list of files leaves it out, that is said."""
    tmp_path.chmod(0o755)  # as clones are
    project, override = f"celerykit-test-{secrets.token_hex(4)}", "compose.override.yaml"
    files = "compose.yaml:compose/rabbitmq.yaml" + f":{override}" * listed
    (tmp_path / ".env").write_text(f"COMPOSE_FILE={files}\n")
    (tmp_path / override).write_text("services: { worker: { environment: { DATABASE_URL: there } } }\n")
    stack = Stack.of_folder(project, tmp_path, {})
    try:
        worker = json.loads(stack.compose("config", "--format", "json"))["services"]["worker"]["environment"]
        assert (worker.get("DATABASE_URL") == "there") is listed
        assert worker["CELERY_BROKER_URL_FILE"].endswith("rabbitmq-worker-url")
        stack.compose("up", "--no-color", "passwords")
        said = stack.compose("logs", "--no-log-prefix", "passwords")
        assert (f"COMPOSE_FILE={files}" in said and f"Let it end in :{override}" in said) is not listed
    finally:
        stack.remove()


@looks
def test_passwords_are_made_once(whole: Stack) -> None:
    """A second `up` changes no password, so that nothing is locked out."""
    before = whole.only("worker").sh("cat /secrets/celery/broker-url")
    whole.up()
    assert whole.only("worker").sh("cat /secrets/celery/broker-url") == before


@looks
@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_hardened_as_docker_sees_it(whole: Stack, service: str) -> None:
    """No root, no capability, no new privilege, nothing to write; bounded memory and logs."""
    details = whole.only(service).container.attrs
    settings = details["HostConfig"]
    assert details["Config"]["User"] not in {"", "0", "root", "0:0"}
    assert settings["ReadonlyRootfs"]
    assert settings["CapDrop"] == ["ALL"]
    assert not settings["CapAdd"]
    assert not settings["Privileged"]
    assert any(option.startswith("no-new-privileges") for option in settings["SecurityOpt"])
    assert settings["Memory"] > 0
    assert settings["LogConfig"]["Config"]["max-size"]
    assert settings["RestartPolicy"]["Name"] == "unless-stopped"
    addresses = {port["HostIp"] for ports in settings["PortBindings"].values() for port in ports}
    assert addresses <= {"127.0.0.1"}


@looks
@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_hardened_as_seen_from_inside(whole: Stack, service: str) -> None:
    """The kernel says the same: an unprivileged user without capabilities on a read-only root."""
    host = whole.only(service).host
    status = dict(
        line.split(":\t", 1) for line in host.file("/proc/1/status").content_string.splitlines() if ":\t" in line
    )
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert host.run("touch /probe /usr/probe").failed
    assert not host.run("command -v pip gcc uv").stdout


@looks
def test_a_secret_is_nowhere_but_in_its_file(whole: Stack) -> None:
    """Neither `docker inspect` nor a command line nor a log shows a password of Redis."""
    urls = whole.only("worker").sh("cat /secrets/celery/broker-url; echo; cat /secrets/celery/result-backend")
    passwords = [urlsplit(url).password or "" for url in urls.split()]
    login = whole.only("flower").sh("cat /secrets/flower/basic-auth").strip()
    assert len(set(passwords)) == 2 and all(len(password) >= 32 for password in passwords)
    for service in SERVICES:
        process = whole.only(service)
        shown = json.dumps(process.container.attrs) + process.logs
        shown += process.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert [secret for secret in (*passwords, login) if secret in shown] == []
    known = whole.only("redis").sh("cat /secrets/redis/users.acl")
    assert [password for password in passwords if password in known] == []


@looks
def test_what_the_app_reads_for_itself_reaches_it_and_no_inspection(whole: Stack) -> None:
    """One variable names the file; values of any characters arrive, and are no part of the container's settings."""
    ask = (
        "import os; from celerykit.config.environment import resolve; "
        "print(resolve('worker', os.environ).values['SECRET_KEY'])"
    )
    for service in ("worker", "beat"):
        process = whole.only(service)
        assert process.sh(f'python -c "{ask}"').strip() == "a $b #c & d"
        assert "a $b" not in str(process.container.attrs)
    ask = "import os; print(os.environ['SECRET_KEY'])"
    assert whole.compose("run", "--rm", "--no-deps", "--no-TTY", "client", "python", "-c", ask).strip() == "a $b #c & d"


@looks
@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET *",
        "KEYS *",
        "DEBUG SLEEP 0",
        "SHUTDOWN NOSAVE",
        "ACL LIST",
        "EVAL 'return 1' 0",
    ],
)
def test_redis_refuses_celery_what_celery_does_not_need(whole: Stack, command: str) -> None:
    """A stolen worker password opens the queues and not the server."""
    for url in ("broker-url", "result-backend"):
        answer = redis_cli(whole, url, command)
        assert "NoPermission" in answer or "not allowed" in answer, answer


@looks
def test_whoever_has_one_url_of_redis_has_not_the_other(whole: Stack) -> None:
    """Who reads results can neither send nor take nor see a job, and who sends jobs can read no result."""
    for command in ("LPUSH celery x", "RPOP celery", "LRANGE celery 0 -1", "HGETALL unacked", "DEL celery"):
        assert "NoPermission" in redis_cli(whole, "result-backend", command)
    for command in ("GET celery-task-meta-1", "SET celery-task-meta-1 x", "DEL celery-task-meta-1"):
        assert "NoPermission" in redis_cli(whole, "broker-url", command)
        assert "NoPermission" not in redis_cli(whole, "result-backend", command)


@looks
def test_redis_knows_nobody_without_a_password(whole: Stack) -> None:
    """The default user is off and a wrong password is refused."""
    assert "AuthenticationError" in redis_cli(whole, "redis://redis:6379/0", "PING")
    assert "invalid username-password pair" in redis_cli(whole, "redis://celery:wrong@redis:6379/0", "PING")


@looks
def test_flower_asks_for_its_login(whole: Stack) -> None:
    """The web page is closed to whoever does not know the password, and open with it."""
    login = whole.only("flower").sh("cat /secrets/flower/basic-auth").strip()
    address = whole.compose("port", "flower", "5555").strip()
    assert http_status(f"http://{address}/") == 401
    assert http_status(f"http://{address}/", login) == 200


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    """`make up` says which port cannot be had and how to choose another, before it starts anything."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        code = "import sys; sys.path.insert(0, 'scripts'); import host; host.require_port(int(sys.argv[1]), 'Flower')"
        done = subprocess.run(["python3", "-c", code, str(port)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"port {port}, which Flower is published on, cannot be had" in done.stderr


def redis_cli(stack: Stack, url: str, command: str) -> str:
    """Send one command to Redis as the user of a URL, or of the file with it, and return the answer."""
    code = (
        "import redis, shlex, sys\n"
        "try: print(redis.Redis.from_url(sys.argv[1]).execute_command(*shlex.split(sys.argv[2])))\n"
        "except redis.RedisError as exc: print(type(exc).__name__, exc, repr(exc.args))\n"
    )
    process = stack.only("worker")
    user = url if url.startswith("redis") else process.sh(f"cat /secrets/celery/{url}").strip()
    result = process.container.exec_run(["python", "-c", code, user, command])
    return str(result.output.decode())


def http_status(url: str, login: str = "") -> int:
    """Return the status code of a GET."""
    request = urllib.request.Request(url)  # noqa: S310  # loopback
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        return exc.code
