"""Which versions an app gets: its own, and the kit's where it leaves them open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celerykit.app.errors import CONTAINER, AppError

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
    assert "none of the kit's is among them" in refused.value.told(CONTAINER)


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
