"""Whose a host is, by what it says and what an inventory tells."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from tests.unit.role.conftest import ROOT

SHOP = "shop folder /srv/me/shop"


def judge(app: str, kind: str, where: str, **found: str) -> str:
    """Return what is wrong with an app on a host, nothing if that has it already."""
    told: dict[str, Any] = {"app": app, "source": {kind: where}, "renamed_from": "", "marker": SHOP, "env": "", **found}
    return str(runpy.run_path(str(ROOT / "roles/celery/files/owner.py"))["judge"](told)["error"])


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
    for word in (f"celery_app={app} from folder {where}", "Deploy it to another host", "celery_app_renamed_from: "):
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
