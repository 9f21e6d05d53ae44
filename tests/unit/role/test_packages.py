"""What a package's version says of its server."""

from __future__ import annotations

import pytest

from tests.unit.role.conftest import ROOT, load

pytest.importorskip("ansible", reason="ansible-core needs Python 3.11")
celery_packages = load(ROOT / "plugins" / "modules" / "celery_packages.py")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("5:7.0.15-1~deb12u3", "7.0.15"),
        ("8.1.1+dfsg1-3", "8.1.1"),
        ("3.10.8-1.1+deb12u1", "3.10.8"),
        ("17+278", "17"),
        ("7.2.7", "7.2.7"),
        ("", ""),
        ("(none)", ""),
    ],
)
def test_the_version_is_that_of_its_authors(version: str, expected: str) -> None:
    """Neither the epoch of the package counts, nor its revision."""
    assert celery_packages.upstream(version) == expected
