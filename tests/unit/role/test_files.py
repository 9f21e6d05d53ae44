"""The files of a host, in a folder that stands for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.role.conftest import ROOT, load

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("ansible", reason="ansible-core needs Python 3.11")
celery_files = load(ROOT / "plugins" / "modules" / "celery_files.py")

ALL = ("app", "configure", "pools")
POOL = "celeryd@default"
DROP_IN = "/etc/systemd/system/celeryd@default.service.d/limits.conf"


@pytest.fixture(autouse=True)
def own_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every group is the one that the test may give."""
    monkeypatch.setattr(celery_files, "group", lambda _: os.getgid())


def entry(path: str, phase: str = "configure", **told: Any) -> dict[str, Any]:
    """Return an entry of a plan as the module gets it."""
    usual = {"text": None, "hidden_text": None, "link": None, "needs": None, "mode": "0644", "group": "root"}
    return {"path": path, "phase": phase, **usual, "secret": False, "units": [], "systemd": 0, **told}


def converge(root: Path, *files: dict[str, Any], phases: tuple[str, ...] = ALL, check_mode: bool = False) -> Any:
    """Run the module."""
    parameters = {"files": files, "phases": phases, "manifest": "/opt/files.json", "pending": "/opt/pending"}
    patterns = {"secret_names": "SECRET", "secret_urls": r"(://[^:/?#]*:).*@"}
    return celery_files.Host({**parameters, **patterns}, check_mode, str(root), os.getuid()).converge()


def env(text: str, **told: Any) -> dict[str, Any]:
    """Return the env file of a pool."""
    return entry("/etc/worker-default.env", text=text, mode="0640", units=[POOL], **told)


def test_what_differs_is_written_with_its_rights(tmp_path: Path) -> None:
    """A file, a folder and a link are there, in the mode that was asked for, and the second run changes nothing."""
    plan = [
        entry("/etc/celery", mode="0750"),
        entry("/etc/celery/celery.env", text="A=1\n", mode="0640"),
        entry("/opt/current", "app", link="release-1"),
    ]
    assert converge(tmp_path, *plan)["paths"] == ["/etc/celery", "/etc/celery/celery.env", "/opt/current"]
    file = tmp_path / "etc/celery/celery.env"
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("A=1\n", 0o640)
    assert (tmp_path / "etc/celery").stat().st_mode & 0o777 == 0o750
    assert os.readlink(tmp_path / "opt/current") == "release-1"
    assert converge(tmp_path, *plan)["changed"] is False


def test_wrong_rights_are_a_difference(tmp_path: Path) -> None:
    """A secret that somebody has opened to all is closed again."""
    converge(tmp_path, env("A=1\n"))
    file = tmp_path / "etc/worker-default.env"
    file.chmod(0o644)
    assert converge(tmp_path, env("A=1\n"))["changed"]
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_comparison_touches_nothing(tmp_path: Path) -> None:
    """Check mode on a fresh host says what would be there, and makes not even a folder."""
    found = converge(tmp_path, env("A=1\n"), check_mode=True)
    assert (found["paths"], found["touched"]) == (["/etc/worker-default.env"], [POOL])
    assert list(tmp_path.iterdir()) == []


def test_a_unit_stays_pending_until_it_is_taken_up(tmp_path: Path) -> None:
    """A play that dies between a change and the restart is made up for by the next one, though no file differs then."""
    assert converge(tmp_path, env("A=1\n"))["touched"] == [POOL]
    again = converge(tmp_path, env("A=1\n"))
    assert (again["changed"], again["touched"]) == (False, [POOL])
    (tmp_path / "opt/pending" / POOL).unlink()
    assert converge(tmp_path, env("A=1\n"))["touched"] == []


def test_what_is_planned_no_more_is_removed(tmp_path: Path) -> None:
    """A pool that left the list leaves no file and no folder of drop-ins, and its unit is to be dealt with."""
    limits = entry(DROP_IN, text="[Service]\n", units=[POOL])
    converge(tmp_path, entry("/etc/celery.env", text="B=1\n"), env("A=1\n"), limits)
    for path in (tmp_path / "opt/pending").iterdir():
        path.unlink()
    done = converge(tmp_path, entry("/etc/celery.env", text="B=1\n"))
    assert sorted(done["paths"]) == sorted(["/etc/worker-default.env", DROP_IN])
    assert done["touched"] == [POOL, "daemon-reload"]
    assert not (tmp_path / "etc/worker-default.env").exists()
    assert not (tmp_path / DROP_IN.lstrip("/")).parent.exists()


def test_what_somebody_else_made_stays(tmp_path: Path) -> None:
    """Only what the role has written is ever removed."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/worker-mine.env").write_text("")
    converge(tmp_path, env("A=1\n"))
    assert converge(tmp_path)["paths"] == ["/etc/worker-default.env"]
    assert (tmp_path / "etc/worker-mine.env").exists()


def test_other_phases_are_left_alone(tmp_path: Path) -> None:
    """`--tags app` neither writes nor removes an env file."""
    converge(tmp_path, env("A=1\n"))
    done = converge(tmp_path, env("A=2\n"), entry("/opt/current", "app", link="r"), phases=("app",))
    assert done["paths"] == ["/opt/current"]
    assert converge(tmp_path, phases=("app",))["paths"] == ["/opt/current"]
    assert (tmp_path / "etc/worker-default.env").read_text() == "A=1\n"


def test_what_a_link_needs_is_missed(tmp_path: Path) -> None:
    """A release that is not there yet is to be made before the link leads to it."""
    current = entry("/opt/current", "app", link="release-1", needs="/opt/release-1")
    assert converge(tmp_path, current, check_mode=True)["missing"] == ["/opt/release-1"]
    (tmp_path / "opt/release-1").mkdir(parents=True)
    assert converge(tmp_path, current, check_mode=True)["missing"] == []


def test_a_folder_gives_way_to_a_link(tmp_path: Path) -> None:
    """An app that was copied to its place by hand is replaced by a release."""
    (tmp_path / "opt/current").mkdir(parents=True)
    (tmp_path / "opt/current/app.py").touch()
    converge(tmp_path, entry("/opt/current", "app", link="release-1"))
    assert os.readlink(tmp_path / "opt/current") == "release-1"


def test_no_diff_shows_a_secret(tmp_path: Path) -> None:
    """`--diff` shows what changes, and neither a secret file, a variable named as one, nor the password of a URL."""
    secret = entry("/etc/broker-url", hidden_text="redis://u:hunter2@h\n", secret=True)
    lines = env("A_SECRET=hunter2\nURL=redis://u:hunter2@h/0\nPLAIN=1\nA_SECRET_FILE=/run/x\n")
    converge(tmp_path, secret, lines)
    changed = env("A_SECRET=hunter3\nURL=redis://u:hunter3@h/0\nPLAIN=2\nA_SECRET_FILE=/run/x\n")
    diff = converge(tmp_path, {**secret, "hidden_text": "redis://u:hunter3@h\n"}, changed)["diff"]
    assert "hunter" not in str(diff)
    assert "PLAIN=1" in diff[1]["before"]
    assert "PLAIN=2" in diff[1]["after"]
    assert "A_SECRET_FILE=/run/x" in diff[1]["after"]


def test_a_drop_in_for_a_newer_systemd_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No unit holds a line that its systemd would only complain about."""
    monkeypatch.setattr(celery_files, "systemd_version", lambda: 252)
    assert converge(tmp_path, entry("/etc/a.conf", text="", systemd=254))["paths"] == []
    monkeypatch.setattr(celery_files, "systemd_version", lambda: 254)
    assert converge(tmp_path, entry("/etc/a.conf", text="", systemd=254))["paths"] == ["/etc/a.conf"]
