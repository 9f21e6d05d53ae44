"""Which of a host's apps a kit serves."""

from __future__ import annotations

import pytest

from celerykit import instance


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("/opt/celery/venvs/0123", ""),
        ("/opt/celery", ""),
        ("/usr", ""),
        ("/srv/opt/celery-shop/venv", ""),
        ("/opt/celery-shop/venvs/0123", "shop"),
        ("/opt/celery-shop/venv", "shop"),
    ],
)
def test_a_kit_serves_the_app_in_whose_folder_it_is(prefix: str, name: str) -> None:
    """Nobody has to say so, and so nobody can forget to."""
    assert instance.of(prefix) == name
