"""Whose a host is, by what it says and what an inventory tells."""

from __future__ import annotations

from typing import Any

import pytest

from celerykit.deploy import owner

SHOP = "shop folder /srv/me/shop"
TOLD: dict[str, Any] = {
    "instance": "",
    "app": "shop",
    "source": {"folder": "/srv/me/shop"},
    "renamed_from": "",
    "broker_url": "redis://celery:secret@127.0.0.1:6379/0",
    "flower": False,
    "flower_port": "",
    "marker": "",
    "env": "",
    "neighbours": [],
}


def judge(app: str, kind: str, where: str, **found: str) -> str:
    """Return what is wrong with an app on a host, nothing if that has it already."""
    return str(answer(app=app, source={kind: where}, **{"marker": SHOP, **found}))


def answer(**told: Any) -> str:
    """Return what is wrong with what is told."""
    told = {**TOLD, **told}
    return "".join(owner.judge(told)["errors"])


@pytest.mark.parametrize(
    ("app", "kind", "where"),
    [
        ("shop", "folder", "/srv/build/shop"),
        ("shop.jobs:app", "folder", "/srv/me/shop"),
        ("shop", "git", "https://git.example/shop.git"),
    ],
)
def test_the_same_app_is_not_refused(app: str, kind: str, where: str) -> None:
    """From whatever machine, and however its module or its source has moved."""
    assert not judge(app, kind, where)


@pytest.mark.parametrize(
    ("app", "where", "found"),
    [
        ("blog", "/srv/me/blog", {}),
        ("app", "/srv/me/blog", {"marker": "app folder /srv/me/shop"}),
        ("blog", "/srv/me/blog", {"marker": "", "env": "X=1\nCELERY_APP=shop\n"}),
    ],
)
def test_another_app_is_refused_with_the_way_out(app: str, where: str, found: dict[str, str]) -> None:
    """Even of the same name, and on a host that was deployed before there was a marker."""
    said = judge(app, "folder", where, **found)
    for word in (
        f"celery_app={app} from folder {where}",
        "celery_instance: ",
        "to another host",
        "celery_app_renamed_from: ",
    ):
        assert word in said


def test_an_app_that_was_renamed_on_purpose_is_taken() -> None:
    """By the name that it had, and by no other."""
    assert not judge("blog", "folder", "/srv/me/blog", renamed_from="shop")
    assert judge("blog", "folder", "/srv/me/blog", renamed_from="other")


def test_a_new_version_is_the_same_app() -> None:
    """A wheel's or requirement's version is no part of who it is."""
    assert not judge("shop", "wheel", "dist/shop-1.1-py3.whl", marker="shop wheel dist/shop-1.0-py3.whl")
    assert not judge("shop", "index", "shop==2.0", marker="shop index shop>=1.0")
    assert judge("shop", "index", "blog==2.0", marker="shop index shop==1.0")


def test_a_fresh_host_is_free() -> None:
    """There is nobody whose jobs could be taken."""
    assert not judge("shop", "folder", "/srv/me/shop", marker="")


@pytest.mark.parametrize("name", ["Shop", "2nd", "my-shop", "a" * 17, "../shop", "flower", "folders"])
def test_a_name_that_no_unit_or_user_can_have_is_refused(name: str) -> None:
    """Or that would make it a part of the first app."""
    said = answer(instance=name)
    assert f"celery_instance={name}: " in said
    assert "such as shop" in said


def test_the_name_that_is_proposed_can_be_taken() -> None:
    """Whatever the app is called, and the name of the instance that is there."""
    for app in ("2nd_shop.celery:app", "flower", "_", "shop"):
        said = answer(app=app, marker="other folder /srv/other", instance="shop")
        name = said.partition("celery_instance: ")[2].partition(",")[0]
        assert name != "shop"
        assert not answer(app=app, instance=name)


@pytest.mark.parametrize(
    ("mine", "theirs", "refused"),
    [
        ("redis://celery:a@127.0.0.1:6379/0", "redis://celery:b@localhost", True),
        ("rediss://celery:a@h:6380", "redis://other:b@h:6380/0", True),
        ("sentinel://:a@h1:26379/0;sentinel://:a@h2:26379/0", "sentinel://:a@h2:26379/0", True),
        ("amqp://a:b@h/shop", "amqp://c:d@h:5672/shop", True),
        ("redis://celery:a@127.0.0.1:6379/0", "redis://celery:a@127.0.0.1:6379/2", False),
        ("redis://celery:a@127.0.0.1:6379/0", "redis://celery:a@127.0.0.1:6380/0", False),
        ("amqp://a:b@h/shop", "amqp://a:b@h/blog", False),
        ("sqs://", "sqs://", False),
    ],
)
def test_the_broker_of_another_app_of_the_host_is_refused(mine: str, theirs: str, refused: bool) -> None:
    """Workers of one would take the jobs of the other: each has a server, database or virtual host of its own."""
    said = answer(instance="shop", broker_url=mine, neighbours=[f"/etc/celery/broker-url:{theirs}"])
    assert bool(said) == refused
    assert not refused or all(word in said for word in ("celery_broker_url", "/etc/celery/broker-url", "redis_port"))
    assert "secret" not in said
    assert not answer(instance="shop", broker_url=mine, neighbours=[f"/etc/celery-shop/broker-url:{theirs}"])


def test_the_port_of_another_flower_is_refused() -> None:
    """That of the app without a name, too, which need not say it."""
    taken = ["/etc/celery-blog/flower.env:FLOWER_PORT=5556"]
    told = {"instance": "shop", "flower": True, "neighbours": taken}
    for port in ("", 5555, 5556, "5556"):
        said = answer(**told, flower_port=port)
        assert "celery_flower_options.port=555" in said
        assert "Say another" in said
    assert not answer(**told, flower_port=5557)
