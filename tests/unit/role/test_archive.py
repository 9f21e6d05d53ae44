"""What the archive of the kit does on a host, short of the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from celerykit.deploy import archive
from tests.unit.role.conftest import ROOT, load

if TYPE_CHECKING:
    from pathlib import Path

kit = load(ROOT / "roles" / "celery" / "files" / "kit" / "__main__.py")


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the environment that pip and uv will see."""
    own = {"PATH": os.environ["PATH"]}
    monkeypatch.setattr(kit.os, "environ", own)
    return own


def test_a_ca_is_trusted_beside_the_public_ones(environ: dict[str, str], tmp_path: Path) -> None:
    """By pip and by uv, from a file that goes with the temporary folder."""
    kit.reach({"ca": "OWN CERTIFICATE"}, tmp_path)
    assert environ["PIP_CERT"] == environ["SSL_CERT_FILE"] == str(tmp_path / "trusted.pem")
    assert (tmp_path / "trusted.pem").read_text().endswith("OWN CERTIFICATE")


def test_wheels_are_all_that_is_asked(environ: dict[str, str], tmp_path: Path) -> None:
    """With a wheelhouse neither pip nor uv asks an index."""
    archive = tmp_path / "wheels.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a-1-py3-none-any.whl", "wheel")
    kit.reach({"wheelhouse": str(archive)}, tmp_path)
    assert (tmp_path / "wheels" / "a-1-py3-none-any.whl").exists()
    assert (environ["PIP_NO_INDEX"], environ["UV_OFFLINE"]) == ("1", "1")


def test_a_failure_says_what_was_said_without_passwords() -> None:
    """The end of the program's output and the variables that may help, but not the index's password."""
    said = "print('no https://user:hunter' + '2@index/simple'); raise SystemExit(1)"
    with pytest.raises(kit.StageError, match=r"no https://user:\*\*\*@index/simple.*celery_ca_bundle") as failed:
        kit.run(sys.executable, "-c", said)
    assert "hunter2" not in str(failed.value)


def test_a_virtualenv_that_runs_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The umbrella may run an old one for years, and must not find its modules gone."""
    monkeypatch.setattr(kit, "ROOT", tmp_path)
    venvs = tmp_path / "venvs"
    names = ["current", "running", "old", "two", "one", "new"]
    for name in names:
        (venvs / name / "bin").mkdir(parents=True)
        os.utime(venvs / name, ns=(0, 0))  # sets the time that is sorted by
    (tmp_path / "venv").symlink_to("venvs/current")
    (venvs / "running/bin/cat").symlink_to(str(shutil.which("cat")))
    with subprocess.Popen([venvs / "running/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"it runs\n")  # until it does, Linux may not know its command line
        process.stdin.flush()
        assert process.stdout.readline()
        kit.forget_old_venvs(keep=venvs / "new")
    assert {path.name for path in venvs.iterdir()} == {*names} - {"old"}


def test_what_was_executable_is_executable(tmp_path: Path) -> None:
    """A script of the app's own can be run in its release, and nobody but root may write there."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/run").write_text("#!/bin/sh\n")
    (tmp_path / "app/run").chmod(0o777)
    (tmp_path / "app/data").write_text("")
    packed = archive.pack("app", archive.files(tmp_path / "app", str.isupper))
    kit.unpack(packed, tmp_path / "release")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "release").iterdir()}
    assert modes == {"run": 0o755, "data": 0o644}
