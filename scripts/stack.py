"""The stack of containers: building its images, starting it, running jobs in it, taking it down."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import host
from console import SetupError, output_of, run, say, step

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPOSE = ("docker", "compose", "--profile", "flower", "--profile", "client")
WITH_RABBITMQ = ("docker", "compose", "--file", "compose.yaml", "--file", "compose/rabbitmq.yaml", *COMPOSE[2:])
WITH_POSTGRESQL = ("docker", "compose", "--file", "compose.yaml", "--file", "compose/postgresql.yaml", *COMPOSE[2:])
TLS_FILES = ("compose/tls.yaml", "compose/rabbitmq-tls.yaml", "compose/postgresql-tls.yaml")
WITH_TLS = tuple(word for file in TLS_FILES for word in ("--file", file))
WITH_EVERYTHING = (*WITH_RABBITMQ[:6], *WITH_POSTGRESQL[4:6], *WITH_TLS, *COMPOSE[2:])
ALLINONE = ("docker", "compose", "--project-directory", ".", "--file", "compose/allinone.yaml")
OTHER_REDIS = {"bookworm": "SUITE=bookworm", "valkey": "REDIS=valkey"}
UP_TIMEOUT = 180
EXAMPLE = "sourcestats"
"""The example app; its jobs run for some seconds."""


def environment() -> dict[str, str]:
    """Return the environment of every call of Compose: the caller's, with this machine's CA bundle."""
    bundle = host.ca_bundle()
    return {**os.environ, **({"CELERYKIT_CA_BUNDLE": bundle} if bundle else {})}


def build() -> None:
    """Build the kit's images; without changes, this is quick."""
    with step("images: celerykit/celery, celerykit/installer, celerykit/redis"):
        _build("build", COMPOSE)
        remove_untagged_images()


def build_other_redis() -> None:
    """Build the other servers for tests of the transport: an older Redis, and Valkey."""
    for tag, argument in OTHER_REDIS.items():
        with step(f"image: celerykit/redis:{tag}"):
            run(
                f"build-redis-{tag}",
                [
                    *("docker", "buildx", "build", "--load", "--progress", "plain", "--file", "images/Dockerfile"),
                    *("--target", "redis", "--build-arg", argument, "--tag", f"celerykit/redis:{tag}", "."),
                ],
                "See its last lines above: mostly the network, or Debian's archive",
            )


def build_rabbitmq() -> None:
    """Build the other broker's image."""
    with step("image: celerykit/rabbitmq"):
        _build("build-rabbitmq", WITH_RABBITMQ, "rabbitmq")


def build_postgresql() -> None:
    """Build the image of the database, and those of Celery and the installer with its client."""
    with step("images: celerykit/postgresql, celerykit/celery:postgresql, celerykit/installer:postgresql"):
        _build("build-postgresql", WITH_POSTGRESQL, "postgresql", "passwords", "app")


def build_allinone() -> None:
    """Build the all-in-one image, on top of the others."""
    with step("image: celerykit/allinone"):
        _build("build-allinone", ALLINONE)


def _build(log: str, compose: Sequence[str], *services: str) -> None:
    run(
        log,
        [*compose, "--progress", "plain", "build", *services],
        "See its last lines above. On a network that inspects TLS, name its CA: CELERYKIT_CA_BUNDLE=FILE",
        environment(),
    )


def remove_untagged_images() -> None:
    """Remove unnamed images of earlier builds, unless a container uses them."""
    output_of("docker", "image", "prune", "--force", "--filter", "label=org.opencontainers.image.vendor=celerykit")


def require_port() -> None:
    """Check that Flower's port is free, or Flower's own.

    :raises SetupError: if another program has its port.
    """
    if not _running("flower"):
        host.require_port(flower_port(), "Flower")


def require_own() -> None:
    """Check that no other folder has started a stack of this name: this one would take over its jobs and passwords.

    :raises SetupError: if one has.
    """
    for compose in (COMPOSE, ALLINONE):
        config = json.loads(output_of(*compose, "config", "--format", "json", env=environment()) or "{}")
        project = config.get("name", "celerykit")
        label = "com.docker.compose.project"
        shown = ("--format", f'{{{{.Label "{label}.working_dir"}}}}')
        started = output_of("docker", "ps", "--all", "--filter", f"label={label}={project}", *shown) or ""
        others = {
            folder for folder in started.splitlines() if folder and Path(folder).resolve() != Path.cwd().resolve()
        }
        if others:
            raise SetupError(
                f"COMPOSE_PROJECT_NAME={project}: the stack of this name is that of {', '.join(sorted(others))}",
                "For another one, put two lines into the file .env of this folder: COMPOSE_PROJECT_NAME=NAME and "
                "CELERYKIT_FLOWER_PORT=5556. If the folder was moved or renamed, remove its containers first, which "
                f"leaves jobs and passwords: docker compose --project-name {project} down; then start it here by "
                f"CELERYKIT_MOVED_FROM={sorted(others)[0]} docker compose up --detach",
            )


def warn_of_override() -> None:
    """Print a warning if Compose does not read the override file, because COMPOSE_FILE omits it."""
    files = os.environ.get("COMPOSE_FILE") or _read_from_file("COMPOSE_FILE")
    name = "compose.override.yaml"
    if files and Path(name).exists() and name not in (Path(file).name for file in files.split(":")):
        say(f"warning: COMPOSE_FILE={files} does not name {name}, so Compose does not read it. Let it end in :{name}")


def _read_from_file(name: str) -> str:
    """Return the value of a variable in the file .env, an empty string if it is not there."""
    lines = Path(".env").read_text(encoding="utf-8").splitlines() if Path(".env").exists() else []
    return next((line.partition("=")[2].strip("'\" ") for line in lines if line.startswith(f"{name}=")), "")


def start() -> None:
    """Start everything, and wait until the workers take jobs."""
    with step("stack: redis, worker, beat and Flower take work"):
        run(
            "up",
            # Without the client: it is for commands of a user.
            [
                *(*COMPOSE[:4], "--progress", "plain", "up", "--detach", "--scale", f"worker={_workers()}"),
                *("--wait", "--wait-timeout", str(UP_TIMEOUT)),
            ],
            "Look at what the containers say: docker compose logs",
            environment(),
        )


def _workers() -> int:
    """Return the best number of workers for their recorded jobs; 1 if no worker runs yet."""
    arguments = ("exec", "--no-TTY", "worker", "celerykit", "tune", "--replicas")
    answer = output_of(*COMPOSE, *arguments, env=environment()) or ""
    return int(answer) if answer.isdigit() else 1


def open_example() -> None:
    """Make the example app readable for containers, even after a clone with a strict umask: their user differs."""
    folder = Path("examples", EXAMPLE)
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (0o055 if path.is_dir() else 0o044))


def run_example() -> None:
    """Run the jobs of the example app, with its progress bar and summary; skip them if CELERY_APP is another app.

    :raises SetupError: if they do not all succeed.
    """
    app = _app()
    if app != EXAMPLE:
        say(f"CELERY_APP is {app}, so the jobs of examples/{EXAMPLE} are left out")
        return
    say(f"examples/{EXAMPLE}: a job for each file of the image's Python library")
    command = [*COMPOSE, "run", "--rm", "--no-deps", "client", "python", "-m", EXAMPLE]
    if subprocess.run(command, check=False, env=environment()).returncode:
        raise SetupError("the example's jobs did not all succeed", "Look at the workers: docker compose logs worker")


def _app() -> str:
    """Return the app that Compose starts: from the caller's environment, a .env file, or the example."""
    config = json.loads(output_of(*COMPOSE, "config", "--format", "json", env=environment()) or "{}")
    return str(config["services"]["worker"]["environment"]["CELERY_APP"]) if config else EXAMPLE


def explain() -> None:
    """Print the next steps with the running stack."""
    port = flower_port()
    say("")
    say("The stack is up. Run the jobs again: docker compose run --rm client python -m sourcestats")
    say(
        f"Flower: http://127.0.0.1:{port}, with the login of: docker compose exec flower cat /secrets/flower/basic-auth"
    )
    say("Your own app: CELERYKIT_APP_DIR=./myapp CELERY_APP=myapp docker compose up")


def down() -> None:
    """Stop and remove the containers and networks; jobs and passwords stay on their volumes."""
    with step("stack: stopped and removed"):
        run("down", [*COMPOSE, "down", "--remove-orphans"], "Look at: docker compose ps --all", environment())
    say("Jobs, results and passwords stay on their volumes: 'make up' goes on with them, 'make clean' removes them.")


def remove_with_volumes() -> None:
    """Remove the stack and the all-in-one container, with their volumes."""
    with step("stack: removed with its volumes"):
        for compose in (WITH_EVERYTHING, ALLINONE):
            run(
                "down",
                [*compose, "down", "--volumes", "--remove-orphans"],
                "Look at: docker ps --all",
                environment(),
            )


def flower_port() -> int:
    """Return the port of this machine on which Flower is published."""
    return int(os.environ.get("CELERYKIT_FLOWER_PORT") or 5555)


def _running(service: str) -> bool:
    return bool(output_of(*COMPOSE, "ps", "--status", "running", "--quiet", service, env=environment()))
