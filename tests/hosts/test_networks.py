"""Deploying in a network that reaches packages in a way of its own."""

from __future__ import annotations

import secrets
import subprocess
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.rig.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.hosts import Host

INDEX = "/srv/index"
PORT = 8099
SECRET = secrets.token_hex(16)
#: What a host is told, each of which reaches the same folder. A proxy is asked by whole URLs, whose host only it knows.
WAYS: dict[str, dict[str, Any]] = {
    "index": {"celery_index_url": f"http://someone:{SECRET}@127.0.0.1:{PORT}/simple/"},
    "proxy": {
        "celery_index_url": "http://packages.invalid/simple/",
        "proxy_environment": {"http_proxy": f"http://127.0.0.1:{PORT}"},
    },
    "wheelhouse": {"celery_index_url": "http://packages.invalid/simple/"},
}


class Package(NamedTuple):
    """A package that no public index has and no host has kept, as a wheel in a folder."""

    name: str
    folder: Path

    @property
    def wheel(self) -> str:
        """The name of its file."""
        return f"{self.name}-1.0-py3-none-any.whl"

    def write(self) -> None:
        """Write it."""
        self.folder.mkdir()
        info = f"{self.name}-1.0.dist-info"
        with zipfile.ZipFile(self.folder / self.wheel, "w") as wheel:
            wheel.writestr(f"{self.name}.py", "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {self.name}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def package(site: Host, tmp_path: Path) -> Iterator[Package]:
    """A package that the app requires, on a server of the host that has it as an index."""
    package, required = Package(f"test{secrets.token_hex(4)}", tmp_path / "wheels"), site.app / "requirements.txt"
    package.write()
    simple = f"{INDEX}/simple/{package.name}"
    site.write(f"{simple}/index.html", f"<a href={package.wheel}>{package.wheel}</a>")
    subprocess.run(["docker", "cp", package.folder / package.wheel, f"{site.container.id}:{simple}/"], check=True)
    site.sh(f"mkdir -p {INDEX}/http: && ln -sfn {INDEX} {INDEX}/http:/packages.invalid")
    site.sh(f"systemd-run -q --unit index python3 -m http.server --bind 127.0.0.1 --directory {INDEX} {PORT}")
    until(lambda: site.run(f"ss -ltnH sport = :{PORT}")[1].strip(), 30, "the index")
    required.write_text(f"{package.name}\n")
    try:
        yield package
    finally:
        required.unlink()
        site.deploy("--tags", "app")
        site.run(f"systemctl stop index; rm -rf {INDEX}")


@pytest.mark.inits("systemd", slowly=("bookworm",))
@pytest.mark.parametrize(
    "way", ["index", pytest.param("proxy", marks=pytest.mark.slow), pytest.param("wheelhouse", marks=pytest.mark.slow)]
)
def test_packages_come_by_the_way_that_hosts_are_told(site: Host, package: Package, way: str) -> None:
    """An app's requirement is installed from an index, by a proxy or from a folder; nothing of it stays on the host."""
    told = {**WAYS[way], **({"celery_wheelhouse": str(package.folder)} if way == "wheelhouse" else {})}
    play = site.deploy("--tags", "app", **told)
    assert play.code == 0, play.text
    site.sh(f"cd /opt/celery/app/current && /opt/celery/venv/bin/python -c 'import {package.name}'")
    traces = (SECRET, "packages.invalid", f"127.0.0.1:{PORT}")
    assert site.run(f"grep -rlF -e {' -e '.join(traces)} /etc /opt/celery /root /home/admin")[1] == ""
    shown = play.text + site.sh("journalctl --no-pager --unit 'celery*'; systemctl show 'celery*'")
    assert [trace for trace in traces if trace in shown] == []


@pytest.mark.inits("systemd", slowly=("bookworm",))
def test_an_index_that_does_not_answer_is_named(site: Host, package: Package) -> None:
    """The play ends there with the reason and the remedy, and without the password; what runs is left alone."""
    before = site.pid("default")
    play = site.deploy("--tags", "app", celery_index_url=f"http://someone:{SECRET}@127.0.0.1:1/simple/")
    assert play.code != 0
    assert "celery_index_url" in play.refusal() and "127.0.0.1:1" in play.refusal()
    assert SECRET not in play.text
    assert site.pid("default") == before
