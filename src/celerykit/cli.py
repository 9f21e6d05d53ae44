"""The command line: the only place that prints and decides on exit codes."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celerykit import __version__
from celerykit.config import environment
from celerykit.config.environment import DEFAULT_POOL
from celerykit.errors import EX_CONFIG, ConfigurationError, Finding
from celerykit.health import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celerykit.process import Launch


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    if argv[:1] == ["run"] and argv[1:2] not in (["-h"], ["--help"]):
        own, for_celery = ["run"], [*argv[1:]]
    else:
        own, for_celery = _split(argv)
    arguments = _parser().parse_args(own)
    arguments.celery_options = for_celery
    try:
        return int(arguments.run(arguments))
    except ConfigurationError as exc:
        for finding in exc.findings:
            print(f"celerykit: error: {finding}", file=sys.stderr)
        return EX_CONFIG


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the kit's own words and Celery's: of a process all but its pool, which comes first, and ``--explain``.

    A ``--`` between them may be left out, and Celery's global options may stand before the command.
    """
    position = list(argv).index("--") if "--" in argv else len(argv)
    before, after = list(argv[:position]), list(argv[position + 1 :])
    command = next((number for number, word in enumerate(before) if word in _PROCESSES), None)
    if command is None or not _is_global(before[:command]):
        if after:
            _parser().error(f"'{' '.join(before[:1])}' takes no Celery options after '--'")
        return before, []
    words = before[command + 1 :]
    own = [word for word in words if word in _OWN]
    others = [word for word in words if word not in _OWN]
    pool = others[:1] if before[command] == "worker" and others and not others[0].startswith("-") else []
    return [before[command], *own, *pool], [*before[:command], *others[len(pool) :], *after]


def _is_global(words: Sequence[str]) -> bool:
    """Say whether all of the words are global options of Celery and their values."""
    if not words:
        return True
    from celerykit.config import command_line

    return words[0] in command_line.FLAGS and not command_line.split_global(words)[1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="celerykit", description="Run Celery in production without losing jobs.")
    parser.add_argument("--version", action="version", version=f"celerykit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for process, summary in _PROCESSES.items():
        command = commands.add_parser(process, help=summary, epilog=_CELERYS)
        if process == "worker":
            command.add_argument("pool", nargs="?", default=DEFAULT_POOL, help="the worker pool, of worker-POOL.env")
        command.add_argument(
            "--explain", action="store_true", help="print what is resolved and from where, start nothing"
        )
        command.set_defaults(run=_start)
    help_text = (
        "run a program with what the processes of Celery are told, such as: celerykit run python manage.py migrate"
    )
    commands.add_parser("run", help=help_text, usage="celerykit run PROGRAM [WORD...]").set_defaults(run=_run)
    _add_probe(commands)
    _add_check(commands)
    command = commands.add_parser("passwords", help="make the passwords of a stack in containers, where there are none")
    command.add_argument("folder", nargs="?", default="/secrets", help="default: %(default)s")
    command.add_argument("--server", default="redis:6379", help="where Redis answers, default: %(default)s")
    help_text = "for RabbitMQ, too, with these queues of jobs, such as celery,reports"
    command.add_argument("--rabbitmq", metavar="QUEUES", default="", help=help_text)
    command.add_argument("--postgresql", action="store_true", help="for PostgreSQL, too")
    command.set_defaults(run=_passwords)
    _add_certificates(commands)
    _add_status(commands)
    _add_waiting(commands)
    _add_pools(commands)
    _add_tune(commands)
    return parser


_CELERYS = "All other options are Celery's, with or without '--' before them, such as -A app -Q a,b -c 4 -l info"
_OWN = frozenset({"--explain", "-h", "--help"})
_PROCESSES = {
    "worker": "start a worker of one pool",
    "beat": "start the scheduler of periodic tasks",
    "flower": "start the Flower web monitor",
}


def _add_probe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the probe to the help; ``__main__`` answers it before this module is imported."""
    help_text = "exit with 0 if a process of this machine is live or ready, else with 1"
    commands.add_parser("probe", help=help_text, usage=probe.USAGE.removeprefix("usage: "))


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("check", help="judge the configuration for job loss, start nothing")
    command.add_argument("pools", nargs="*", metavar="POOL", help="default: every pool that has an env file")
    command.add_argument("--format", choices=["text", "json"], default="text")
    help_text = "judge env files, as JSON on standard input, before they are in place; exit with 78 if one cannot run"
    command.add_argument("--candidate", action="store_true", help=help_text)
    command.set_defaults(run=_check)


def _add_certificates(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("certificates", help="make an authority and its servers' certificates, once")
    command.add_argument("servers", nargs="+", metavar="SERVER[=NAME,...]", help="such as redis, with its other names")
    command.add_argument("--folder", default="/secrets", help="default: %(default)s")
    help_text = "new certificates by the same authority, which servers read when they are told"
    command.add_argument("--renew", action="append_const", dest="steps", const="renew", help=help_text)
    help_text = "a new authority, trusted beside the old one; --renew has it sign, once all clients have it"
    command.add_argument("--new-authority", action="append_const", dest="steps", const="authority", help=help_text)
    command.set_defaults(run=_certificates, steps=[])


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("status", help="list the pools of this machine; exit with 1 if one is not ready")
    help_text = "prometheus: as metrics, which say by themselves what is not ready, so the exit code is 0"
    command.add_argument("--format", choices=["text", "json", "prometheus"], default="text", help=help_text)
    command.set_defaults(run=_status)


def _add_waiting(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("waiting", help="count the jobs that wait on Redis for their ETA, countdown or retry")
    help_text = "put them into their queues, due or not, for workers without the kit; refused while one with it runs"
    done = command.add_mutually_exclusive_group()
    done.add_argument("--put-back", action="store_true", help=help_text)
    done.add_argument("--drop", metavar="QUEUE", default="", help="drop those of a queue, as purge drops what is in it")
    command.set_defaults(run=_waiting)


def _add_pools(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("pools", help="what celeryd.service runs: all enabled pools at once, under systemd")
    command.add_argument("verb", choices=["run", "stop", "reload", "revive", "rejoin"])
    command.set_defaults(run=_pools)


def _add_tune(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("tune", help="propose the size of a worker pool for what its jobs do, start nothing")
    command.add_argument("pool", nargs="?", default=DEFAULT_POOL, help="the worker pool, of worker-POOL.env")
    command.add_argument("--app", metavar="MODULE", help="the app, if not CELERY_APP")
    measured = command.add_mutually_exclusive_group()
    help_text = "run this task of the app, here and now, instead of what its worker has seen"
    measured.add_argument("--task", metavar="NAME", help=help_text)
    help_text = "wait until the pool's worker has seen that many jobs"
    measured.add_argument("--sample", metavar="JOBS", type=_positive, default=0, help=help_text)
    command.add_argument("--args", metavar="JSON", type=_json_of(list), default=[], help="its arguments, such as [1]")
    command.add_argument("--kwargs", metavar="JSON", type=_json_of(dict), default={}, help='such as {"to": "me"}')
    command.add_argument("--runs", metavar="N", type=_positive, default=10, help="how often, default: %(default)s")
    told = command.add_mutually_exclusive_group()
    told.add_argument("--write", action="store_true", help="put it into the pool's env file")
    told.add_argument("--apply", action="store_true", help="do that, and restart its workers one after the other")
    told.add_argument("--replicas", action="store_true", help="print only how many workers of this size are best")
    command.set_defaults(run=_tune)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _json_of(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(f"{text} is no JSON: {exc}") from exc
        if not isinstance(value, kind):
            raise argparse.ArgumentTypeError(f"{text} is no {'list' if kind is list else 'object'} of JSON")
        return value

    return read


def _start(arguments: argparse.Namespace) -> int:
    from celerykit.host.restart_delay import HoldOff

    pool = getattr(arguments, "pool", DEFAULT_POOL)
    if arguments.explain:
        return _explain(_prepare(arguments, pool))
    hold_off = HoldOff(arguments.command, pool)
    hold_off.wait()
    try:
        ready = _prepare(arguments, pool)
        from celerykit import launch

        sys.stdout.flush()
        return launch.run(ready, _warn)
    except ConfigurationError as exc:
        hold_off.refused(exc)
        raise


def _run(arguments: argparse.Namespace) -> int:
    """Become another program, which reads its secrets by the kit's loader or by itself."""
    program = arguments.celery_options[1:] if arguments.celery_options[:1] == ["--"] else arguments.celery_options
    if not program:
        _parser().error("'run' needs a program: celerykit run PROGRAM [WORD...]")
    told = environment.gather("run", os.environ)
    try:
        os.execvpe(program[0], program, told.values)  # noqa: S606  # without a shell, as meant
    except OSError as exc:
        finding = Finding("PROGRAM", program[0], "arguments", f"cannot be run: {exc.strerror}", "Mend the name")
        raise ConfigurationError(finding) from exc


def _explain(ready: Launch) -> int:
    tuned = app = None
    code = 0
    if ready.process == "worker":
        from celerykit import launch

        try:
            # What an app prints while it is imported is no part of the answer.
            with contextlib.redirect_stdout(sys.stderr):
                launch.enter(ready)
                app = launch.load_app(ready)
                tuned = launch.tune(ready, app)
        except ConfigurationError as exc:  # which is no reason to keep what is known
            code = EX_CONFIG
            for finding in exc.findings:
                _warn(finding)
    for line in ready.explain(tuned, app):
        print(line)
    return code


def _prepare(arguments: argparse.Namespace, pool: str) -> Launch:
    _require_releases()
    from celerykit import launch

    ready, warnings = launch.prepare(arguments.command, os.environ, pool, arguments.celery_options)
    for finding in warnings:
        _warn(finding)
    return ready


def _require_releases() -> None:
    """Look at what is installed before anything of it is imported, which might lack what the kit imports."""
    from celerykit import releases

    for finding in releases.require():
        _warn(finding)


def _warn(finding: Finding) -> None:
    print(f"celerykit: warning: {finding}", file=sys.stderr)


def _tune(arguments: argparse.Namespace) -> int:
    from celerykit import launch
    from celerykit.host import rolling_restart
    from celerykit.tuning import recommendation

    if arguments.app:
        os.environ["CELERY_APP"] = arguments.app
    arguments.command, arguments.celery_options = "worker", []
    ready = _prepare(arguments, arguments.pool)
    if arguments.apply:
        rolling_restart.commands(arguments.pool)  # refused before anything is written
    with contextlib.redirect_stdout(sys.stderr):
        launch.enter(ready)
        app = launch.load_app(ready)
        if arguments.task:
            found = recommendation.of_task(ready, app, arguments.task, arguments.args, arguments.kwargs, arguments.runs)
        else:
            found = recommendation.of_worker(ready, app, arguments.sample, _say)
    if arguments.replicas:
        print(found.size.plan.replicas)
        return 0
    for line in found.lines():
        print(line)
    if arguments.write or arguments.apply:
        _fix(recommendation.write(ready, found.size.plan), apply=arguments.apply)
    return 0


def _fix(files: Sequence[Path], *, apply: bool) -> None:
    """Say what was written, and have it in force, now or later."""
    from celerykit.host import rolling_restart, umbrella

    for path in files:
        print(f"wrote {path}")
    workers = [*map(environment.pool_of, files)]
    if not apply:
        print(f"in force from the next start on, such as: systemctl restart {umbrella.NAME}@{workers[0]}")
        return
    for name in rolling_restart.restart(workers):
        print(f"restarted {name}", flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _passwords(arguments: argparse.Namespace) -> int:
    from celerykit.credentials import owner, passwords

    who = owner.owner(os.environ, owner.MOUNTS.read_text(encoding="utf-8", errors="replace"))
    if who and owner.claim(Path(arguments.folder), who, os.environ):
        print(f"from now on, this stack is that of {who}")
    if who:  # nobody's stack is one that was not started by Compose
        passwords.open_to_group(passwords.KEPT)
    files = Path(owner.CHECKOUT), os.environ.get("COMPOSE_FILE", "")
    for finding in owner.overlooked(*files):
        _warn(finding)
    if findings := owner.on_another_broker(*files):
        raise ConfigurationError(*findings)
    queues = [name for name in arguments.rabbitmq.split(",") if name]
    written = passwords.write(Path(arguments.folder), arguments.server, queues, postgresql=arguments.postgresql)
    for path in written:
        print(f"wrote {path}")
    if not written:
        print("every password is there: nothing to do")
    if written == [Path(arguments.folder) / passwords.USERS]:
        print("its users have changed: a Redis that runs already takes them up by 'docker compose restart redis'")
    return 0


def _certificates(arguments: argparse.Namespace) -> int:
    try:
        from celerykit.credentials import certificates
    except ImportError as exc:
        needed = Finding("cryptography", "", "Python path", str(exc), "Install celerykit[certificates]")
        raise ConfigurationError(needed) from exc
    named = (server.partition("=") for server in arguments.servers)
    servers = {server: [name for name in names.split(",") if name] for server, _, names in named}
    written = certificates.write(Path(arguments.folder), servers, *(arguments.steps or ()))
    for path in written:
        print(f"wrote {path}")
    if not written:
        print("every certificate is there: nothing to do")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    _require_releases()
    from celerykit import releases
    from celerykit.checks import job_loss

    if arguments.candidate:
        from celerykit.checks import staged

        for finding in staged.judge(json.load(sys.stdin)):
            print(finding)
        return 0
    # What an app prints while it is imported is no part of the answer.
    with contextlib.redirect_stdout(sys.stderr):
        findings = job_loss.check(arguments.pools)
    if arguments.format == "json":
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
        if not findings:
            print("nothing found by which a job could be lost")
    refused = set(releases.redis_refusals())  # known to matter once the app has named its broker
    return EX_CONFIG if refused & set(findings) else 1 if findings else 0


def _status(arguments: argparse.Namespace) -> int:
    from celerykit.host import status

    found = status.status()
    if arguments.format == "prometheus":
        from celerykit.host import metrics

        print(metrics.exposition(found), end="")
        return 0
    if arguments.format == "json":
        print(json.dumps([asdict(pool) for pool in found], indent=2))
    else:
        for pool in found:
            print(pool)
    return 0 if found and all(pool.well for pool in found) else 1


def _waiting(arguments: argparse.Namespace) -> int:
    from celerykit import launch
    from celerykit.brokers import catalogue

    arguments.command, arguments.celery_options = "worker", []
    ready = _prepare(arguments, DEFAULT_POOL)
    with contextlib.redirect_stdout(sys.stderr):
        launch.enter(ready)
        app = launch.load_app(ready)
    url = catalogue.broker_urls(app.conf)[0]
    if catalogue.scheme_of(url) not in catalogue.REDIS:
        print("jobs wait on the broker itself, and in no worker's way: only on Redis does the kit count them")
        return 0
    from celerykit.transports.redis import waiting

    with waiting.room_of(app) as room:
        if arguments.drop:
            print(f"dropped {room.drop(arguments.drop)} jobs")
        if arguments.put_back:
            print(f"{room.put_back()} jobs are back in their queues")
        left = room.by_list()
    for name, count in left.items():
        print(f"{name.encode('unicode_escape').decode():<32}{count}")
    print(f"{sum(left.values())} jobs wait for their time")
    if arguments.put_back and left:
        print("celerykit: error: a worker with the kit's transport runs, and would put them off again", file=sys.stderr)
        return 1
    return 0


def _pools(arguments: argparse.Namespace) -> int:
    from celerykit.host import umbrella

    verbs: dict[str, Callable[[], None]] = {
        "run": umbrella.run,
        "stop": umbrella.stop,
        "reload": umbrella.reload,
        "revive": umbrella.revive,
        "rejoin": umbrella.rejoin,
    }
    try:
        verbs[arguments.verb]()
    except umbrella.PoolsError as exc:
        print(f"celerykit: error: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
