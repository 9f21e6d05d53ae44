"""Whose a stack is."""

from __future__ import annotations

from pathlib import Path

import pytest

from celerykit.credentials import owner
from celerykit.errors import ConfigurationError

ROOT = Path(__file__).parents[3]
MOUNTS = "64 107 0:48 / /sys/firmware ro - tmpfs tmpfs ro\n149 103 254:0 {} /checkout ro,relatime - ext4 /dev/vda rw\n"
"""What a kernel says."""
A, B = "/srv/a", "/srv/b"


def test_a_stack_is_known_by_its_folder_on_the_host() -> None:
    """Not by the folder in which somebody calls Compose; blanks in its name are no end of it."""
    assert owner.owner({}, MOUNTS.format("/srv/two\\040words")) == "/srv/two words"


def test_a_stack_is_known_by_its_name_where_each_release_has_its_own_folder() -> None:
    """`CELERYKIT_OWNER` is said once, and holds in every folder."""
    assert owner.owner({"CELERYKIT_OWNER": "shop"}, MOUNTS.format(A)) == "shop"


def test_a_container_that_nobody_told_where_it_is_from_is_not_judged() -> None:
    """An image by itself, or another way to start it, works as before."""
    assert not owner.owner({}, MOUNTS.partition("\n")[0])


def test_a_stack_from_before_is_that_of_who_comes_first(tmp_path: Path) -> None:
    """An upgrade in its folder finds its jobs and passwords, and so does every start after it."""
    (tmp_path / "celery").mkdir()
    assert owner.claim(tmp_path, A, {})
    assert not owner.claim(tmp_path, A, {})


def test_the_stack_of_another_folder_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """It names the project, both folders, what to do for two stacks, and what if the folder was moved."""
    owner.claim(tmp_path, A, {})
    with pytest.raises(ConfigurationError) as refused:
        owner.claim(tmp_path, B, {"COMPOSE_PROJECT_NAME": "celerykit"})
    for word in ("COMPOSE_PROJECT_NAME=celerykit", A, B, "CELERYKIT_FLOWER_PORT", f"CELERYKIT_MOVED_FROM={A}"):
        assert word in str(refused.value)


def test_a_folder_that_was_moved_keeps_its_stack(tmp_path: Path) -> None:
    """Said once, it is the owner from then on; another folder cannot be meant by it."""
    owner.claim(tmp_path, A, {})
    with pytest.raises(ConfigurationError):
        owner.claim(tmp_path, B, {"CELERYKIT_MOVED_FROM": "/srv/other"})
    assert owner.claim(tmp_path, B, {"CELERYKIT_MOVED_FROM": f"{A}/"})
    assert not owner.claim(tmp_path, B, {})
    with pytest.raises(ConfigurationError):
        owner.claim(tmp_path, A, {})


@pytest.mark.parametrize(
    ("files", "said"),
    [("compose.yaml:compose/tls.yaml", True), ("compose.yaml:./compose.override.yaml", False), ("", False)],
)
def test_an_override_that_compose_does_not_read_is_named(tmp_path: Path, files: str, said: bool) -> None:
    """`COMPOSE_FILE` switches off the file that Compose reads by itself, without a word."""
    assert owner.overlooked(tmp_path, files) == []
    (tmp_path / "compose.override.yaml").touch()
    found = [finding.remedy for finding in owner.overlooked(tmp_path, files)]
    assert found == (["Let it end in :compose.override.yaml"] if said else [])


@pytest.mark.parametrize(
    ("files", "refused"),
    [
        ("compose.yaml:pools.yaml", []),
        ("compose.yaml:compose/rabbitmq.yaml:pools.yaml", ["/secrets/celery/rabbitmq-worker-url"]),
        ("compose.yaml:compose/postgresql.yaml:compose/pgmq.yaml:pools.yaml", ["/secrets/celery/postgresql-broker"]),
        ("compose.yaml:compose/rabbitmq.yaml:mended.yaml", []),
    ],
)
def test_pools_on_another_broker_are_refused(tmp_path: Path, files: str, refused: list[str]) -> None:
    """The example as it is waits at Redis for ever where the stack's broker is another; with its line it does not."""
    example = (ROOT / "compose" / "examples" / "pools.yaml").read_text(encoding="utf-8")
    (tmp_path / "pools.yaml").write_text(example)
    (tmp_path / "mended.yaml").write_text(example.replace("# CELERY_BROKER", "CELERY_BROKER", 1))
    found = [finding.remedy for finding in owner.on_another_broker(tmp_path, files)]
    assert [url for remedy, url in zip(found, refused, strict=True) if url in remedy] == refused
