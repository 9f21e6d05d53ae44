"""Which versions an app gets: its own, and the kit's where it leaves them open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celerykit.app.errors import CONTAINER, AppError
from tests.install.parts import wheel

if TYPE_CHECKING:
    from tests.install.conftest import Installer


@pytest.mark.parametrize(
    ("asked", "gets"),
    [
        ("celery==5.5.3\nkombu==5.5.3\n", {"celery": "5.5.3", "kombu": "5.5.3"}),
        ("celery<5.7\n", {"celery": "5.6.3", "kombu": "5.6.3"}),
        ("kombu==5.6.3\n", {"kombu": "5.6.3", "celery": "5.6.3"}),
        ("useful==2.0\n", {"useful": "2.0"}),
        ("celery\nuseful\nother\n", {"celery": "5.7.0", "kombu": "5.7.0", "useful": "1.0", "other": "2.0"}),
    ],
)
def test_an_app_s_own_versions_win(installer: Installer, asked: str, gets: dict[str, str]) -> None:
    """What it pins or bounds, it gets; what it leaves open is the kit's version, and all of it goes together."""
    installer.app({"requirements.txt": asked})
    installer.install()
    assert installer.versions() == gets


def with_clients(installer: Installer) -> None:
    """Put Kombus and redis-pys into the index that do not all go together, as PyPI's do not."""
    for version, needs in (("5.6.3", "redis<6.1"), ("5.7.0", "redis>=6.1")):
        wheel(installer.wheels, "kombu", version, f"{needs} ; extra == 'redis'", extras=["redis"])
        low, high = f"{version[:3]}", f"{version[0]}.{int(version[2]) + 1}"
        needs = (f"kombu>={low},<{high}", f"kombu[redis]>={low},<{high} ; extra == 'redis'")
        wheel(installer.wheels, "celery", version, *needs, extras=["redis"])
    for version in ("5.3.1", "6.4.0"):
        wheel(installer.wheels, "redis", version)


def test_an_app_with_an_older_redis_py_gets_a_kombu_that_takes_it(installer: Installer) -> None:
    """The newest Kombu would refuse it at the start of each worker. What the app does not ask for is not installed."""
    with_clients(installer)
    installer.app({"requirements.txt": "celery<5.8\nredis<6\n"})
    said = installer.install()
    assert installer.versions() == {"celery": "5.6.3", "kombu": "5.6.3", "redis": "5.3.1"}
    assert "celery 5.6.3 and kombu 5.6.3: newer ones refuse redis 5.3.1" in said


def test_an_app_whose_versions_do_not_go_together_is_warned(installer: Installer) -> None:
    """It may have another broker than Redis; the warning comes before the first worker says so."""
    with_clients(installer)
    installer.app({"requirements.txt": "celery==5.7.0\nredis<6\n"})
    assert "warning: celery 5.7.0 and kombu 5.7.0 refuse redis 5.3.1" in installer.install()
    assert installer.versions() == {"celery": "5.7.0", "kombu": "5.7.0", "redis": "5.3.1"}


@pytest.mark.parametrize("asked", ["celery==5.4.0\n", "other\ncelery<5.5\n"])
def test_an_app_outside_the_range_gets_one_message(installer: Installer, asked: str) -> None:
    """Package, what the app asks for, what the kit takes and what to do, before anything is installed."""
    installer.app({"requirements.txt": asked})
    with pytest.raises(AppError) as refused:
        installer.install()
    assert str(refused.value) == (
        "celery: the app asks for 5.4.0 (-r requirements.txt), and celerykit takes 5.5 or later, before 5.8. "
        "Have the app's requirements say celery>=5.5,<5.8"
    )
    assert not list(installer.root.glob("deps-*")) and not installer.current.exists()


def test_a_conflict_of_the_app_s_own_is_told_as_such(installer: Installer) -> None:
    """The tool's reason is there, and that nothing of the kit has a part in it."""
    installer.app({"requirements.txt": "celery==5.6.3\nkombu==5.5.3\n"})
    with pytest.raises(AppError) as refused:
        installer.install()
    assert "celery==5.6.3 depends on kombu>=5.6" in str(refused.value)
    assert "none of the kit's is among them" in refused.value.describe(CONTAINER)


def test_what_another_day_may_change_is_said_before_it_is_installed(installer: Installer) -> None:
    """With the version of today and how to keep it; of what is pinned there is no word."""
    installer.app({"requirements.txt": "useful==2.0\nother\n"})
    said = installer.install()
    before = said.partition("Installed")[0]
    assert "not pinned by the app" in before and "other 2.0" in before and "useful" not in before
    installer.app({"requirements.txt": "useful==2.0\nother==2.0\n"})
    assert "not pinned" not in installer.install()


def test_hashes_are_kept_to_the_letter(installer: Installer) -> None:
    """Another file under the name and version that the app has hashed is not taken."""
    installer.app({"requirements.txt": f"other==1.0 --hash=sha256:{'0' * 64}\n"})
    with pytest.raises(AppError, match="Hash mismatch"):
        installer.install()
