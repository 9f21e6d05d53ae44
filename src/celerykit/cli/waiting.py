"""The command that counts the jobs on Redis that wait for their ETA, countdown or retry."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from celerykit.cli.readiness import prepare
from celerykit.config.environment import DEFAULT_POOL

if TYPE_CHECKING:
    import argparse

    from celerykit.cli.groups import Group


def add(group: Group) -> None:
    """Add the command ``waiting``."""
    examples = ("celerykit waiting", "celerykit waiting --put-back", "celerykit waiting --drop mails")
    command = group.add(
        "waiting", "count the jobs that wait on Redis for their ETA, countdown or retry", _waiting, examples
    )
    help_text = "requeue them, due or not, for workers without the kit; refused while a worker with the kit runs"
    done = command.add_mutually_exclusive_group()
    done.add_argument("--put-back", action="store_true", help=help_text)
    done.add_argument(
        "--drop", metavar="QUEUE", default="", help="drop the waiting jobs of a queue, as purge drops the jobs in it"
    )


def _waiting(arguments: argparse.Namespace) -> int:
    from celerykit import launch
    from celerykit.brokers import catalogue

    arguments.command, arguments.celery_options = "worker", []
    ready = prepare(arguments, DEFAULT_POOL)
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
