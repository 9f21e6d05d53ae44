"""What the playbook, the roles and the inventories promise each other, and the collection that is made of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from celerykit import __version__
from tests.rig import collection
from tests.rig.collection import run

pytest.importorskip("ansible", reason="Ansible runs on Python 3.11 and newer only")
ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
INVENTORIES = ("single", "several")


def load(path: str) -> Any:
    """Return what a file of YAML says."""
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of collections with this one in it."""
    folder = tmp_path_factory.mktemp("collections")
    collection.install(folder)
    return folder


@pytest.mark.parametrize("role", ROLES)
def test_the_defaults_of_a_role_are_those_in_its_specification(role: str) -> None:
    """Who reads the specification or the page made from it sees the values that hold."""
    options = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    specified = {name: option["default"] for name, option in options.items() if "default" in option}
    assert load(f"roles/{role}/defaults/main.yml") == specified


def test_the_collection_has_the_version_of_the_package() -> None:
    """Both are the same release."""
    assert load("galaxy.yml")["version"] == __version__


def test_the_collection_runs_from_elsewhere(installed: Path) -> None:
    """Its playbook and roles are found outside of this folder, and no link in it leads nowhere."""
    kit = installed / "ansible_collections/celerykit/kit"
    assert [path for path in kit.rglob("*") if path.is_symlink() and not path.exists()] == []
    inventory = str(kit / "playbooks/inventories/single")
    told = run(
        *("ansible-playbook", "--list-tasks", "-i", inventory, "celerykit.kit.site"),
        folder=installed,
        ANSIBLE_COLLECTIONS_PATH=str(installed),
    )
    assert all(f"celerykit.kit.{role} :" in told for role in ROLES), told


def test_the_collection_holds_no_secret_and_no_test(installed: Path) -> None:
    """What a run has left beside an inventory here is not handed on."""
    kit = installed / "ansible_collections/celerykit/kit"
    assert (kit / "README.md").is_file()
    assert not {"tests", "scripts", "compose", "inventory"} & {path.name for path in kit.iterdir()}
    assert [path for path in kit.rglob("*") if path.is_file() and path.read_bytes() == collection.SECRET.encode()] == []


@pytest.mark.parametrize("name", INVENTORIES)
def test_an_inventory_has_every_group_of_the_playbook(name: str) -> None:
    """No play of a copied inventory is skipped because of a group that is spelt otherwise."""
    used = {group.lstrip("!") for play in load("playbooks/site.yml") for group in play["hosts"].split(":")}
    assert set(load(f"playbooks/inventories/{name}/hosts.yml")) - {"all"} == used


@pytest.mark.parametrize(
    ("broker", "secret", "login"),
    [
        ("redis", "redis", "redis{}://celery"),
        ("rabbitmq", "rabbitmq-worker", "amqp{}://worker"),
        ("postgresql", "postgresql", "pgmq://celery"),  # which speaks TLS where CELERYKIT_TLS_CA is set
    ],
    ids=["redis", "rabbitmq", "postgresql"],
)
@pytest.mark.parametrize("name", INVENTORIES)
def test_an_inventory_keeps_its_password_out_of_git(
    name: str, broker: str, secret: str, login: str, tmp_path: Path
) -> None:
    """It is made once, for its owner alone, and ignored in a copy, too; what leaves a machine does so by TLS."""
    copy = tmp_path / "inventory"
    subprocess.run(["cp", "-r", str(ROOT / "playbooks/inventories" / name), str(copy)], check=True)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    first, second = url(copy, broker), url(copy, broker)
    made = copy / ".secrets" / secret
    password = made.read_text().strip()
    assert made.stat().st_mode & 0o777 == 0o600
    assert password.isalnum() and len(password) == 48
    assert first == second and f"{login.format('s' * (name == 'several'))}:{password}@" in first
    known = subprocess.run(["git", "-C", str(tmp_path), "status", "--short", "-uall"], capture_output=True, text=True)
    assert ".secrets" not in known.stdout and "hosts.yml" in known.stdout


def url(inventory: Path, broker: str) -> str:
    """Return the broker's URL as a host of an inventory would be given it."""
    asked = ("workers[0]", "-m", "debug", "-a", "msg={{ celery_broker_url }}")
    return run("ansible", "-i", str(inventory), "-e", f"celery_broker={broker}", *asked)
