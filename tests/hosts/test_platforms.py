"""Systems that are made from Debian, on a Debian host that says it is Ubuntu: no Ubuntu can be had everywhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from celerykit.brokers import rabbitmq_definitions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.hosts import Host

RELEASE = "/usr/lib/os-release"
SAYS = 'NAME="Ubuntu"\\nID=ubuntu\\nID_LIKE=debian\\nVERSION_ID="{0}"\\nVERSION="{0} LTS"\\nPRETTY_NAME="Ubuntu {0}"\\n'


@contextmanager
def saying_ubuntu(host: Host, version: str) -> Iterator[None]:
    """Have a host say that it is Ubuntu."""
    host.sh(f"cp {RELEASE} {RELEASE}.kept && printf '{SAYS.format(version)}' >{RELEASE}")
    try:
        yield
    finally:
        host.sh(f"mv {RELEASE}.kept {RELEASE}")


@pytest.mark.inits("systemd", "rabbitmq", "postgresql")
def test_ubuntu_is_taken_by_every_role(site: Host) -> None:
    """Each finds its packages and its paths, and has nothing to change."""
    with saying_ubuntu(site, "24.04"):
        done = site.deploy()
    assert (done.code, done.changed()) == (0, 0), done.text


def test_what_a_release_lacks_is_said_by_name(site: Host) -> None:
    """Before anything is touched: the version that is needed, the version that is there, and what to do."""
    if not site.kind.startswith("bookworm"):
        pytest.skip("this release lacks nothing")
    passwords = dict.fromkeys(rabbitmq_definitions.RIGHTS, "sound")
    with saying_ubuntu(site, "22.04"):
        said = site.deploy(celery_broker="rabbitmq", rabbitmq_passwords=passwords).refusal()
    assert "celery_broker=rabbitmq needs RabbitMQ 4.0 or newer, and Ubuntu 22.04 has 3.10" in said, said
    assert "celery_broker: redis" in said and "archive" in said
