"""RabbitMQ on a host: who gets in, by which addresses, and what each user may not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from amqp.exceptions import AccessRefused
from celery import Celery

from celerykit.messages import dead_letters
from tests.rig.hosts import VARIABLES
from tests.rig.playing import play

if TYPE_CHECKING:
    from tests.rig.hosts import Host

pytestmark = pytest.mark.inits("rabbitmq")
INSIDE = ("4369", "15672", "25672")
"""The ports of the port mapper, of the page and of Erlang's distribution."""
URLS = (
    "CELERYKIT_TLS_CA=/etc/celery/ca.pem "
    "CELERY_BROKER_URL=$(cat /etc/celery/broker-url) CELERY_RESULT_BACKEND=$(cat /etc/celery/result-backend)"
)
ASK = "import plain; print(plain.app.send_task('jobs.bound').get(timeout=60))"


def app(host: Host, user: str) -> Celery:
    """Return an app without the kit that comes in as a user."""
    made = Celery("stock", broker=host.url(user), set_as_current=False)
    made.conf.broker_use_ssl = host.trusting
    return made


def test_nobody_gets_in_without_a_password(site: Host) -> None:
    """Neither the guest of RabbitMQ nor a user with another password."""
    for user in ("guest", "worker", "operator"):
        stranger = app(site, user)
        stranger.conf.broker_url = site.url(user).replace(site.password, "guest")
        with stranger.connection_for_read() as connection, pytest.raises(AccessRefused):
            connection.connect()


def test_only_the_port_for_jobs_is_seen_from_elsewhere(site: Host) -> None:
    """The page, the port mapper and the way into a cluster are on loopback alone."""
    lines = site.sh("ss -ltnH").splitlines()
    listens = {line.split()[3].rpartition(":")[2]: line.split()[3].rpartition(":")[0] for line in lines}
    assert listens["5671"] == "0.0.0.0" and "5672" not in listens
    assert {port: listens.get(port) for port in INSIDE} == dict.fromkeys(INSIDE, "127.0.0.1"), lines
    assert len([line for line in lines if line.split()[3].rpartition(":")[2] in INSIDE]) == len(INSIDE), lines


def test_no_user_may_do_more_than_it_must(site: Host) -> None:
    """A worker may not read dead letters; a producer may read no job and command no worker."""
    for user, queue in (("worker", dead_letters.QUEUE), ("producer", "celery")):
        with app(site, user).connection_for_read() as connection, pytest.raises(AccessRefused):
            connection.default_channel.basic_get(queue)
    with pytest.raises(AccessRefused):
        app(site, "producer").control.ping(timeout=1)


def test_an_operator_looks_at_the_queues(site: Host) -> None:
    """As root, on the host, by the tool that comes with the server."""
    assert site.sh("stat -c '%a %U' /etc/rabbitmq/operator.conf").split() == ["600", "root"]
    assert "celery" in site.sh("rabbitmqadmin --config /etc/rabbitmq/operator.conf list queues name messages")


@pytest.mark.slow
def test_a_changed_threshold_restarts_the_broker_alone(site: Host) -> None:
    """No pool is restarted for what it does not read, and jobs that wait meanwhile are done."""
    before, broker = site.pid("default"), site.broker_pid()
    site.client.work(12, 1.0)
    play = site.deploy("--tags", "rabbitmq", rabbitmq_disk_free="128MiB")
    assert play.code == 0 and play.changed() == 2, play.text
    site.assert_nothing_lost(twice=4)
    assert site.pid("default") == before and site.broker_pid() != broker
    site.deploy("--tags", "rabbitmq")


@pytest.mark.slow
def test_results_are_in_a_valkey_beside_it(site: Host) -> None:
    """The broker's host in the group `backends` gets a Valkey, too, and a job's result is read from there."""
    inventory = site.inventory(
        {"host": {"celery_result_backend": VARIABLES["celery_result_backend"], "redis_server": "valkey"}}
    )
    done = play({**inventory, "backends": inventory["brokers"]}, site.folder)
    assert done.code == 0, done.text
    ask = f'{URLS} CELERY_LOADER=celerykit.loader:Loader /opt/celery/venv/bin/python -c "{ASK}"'
    assert "'acks_late': True" in site.sh(f"cd /opt/celery/app/current && {ask}")
    site.deploy()
    assert site.run("ls /etc/celery/result-backend")[0] != 0
