"""What all tests share: the mark of those that are slow with some of their parameters."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # before the tests that nobody wants are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is so with its parameters, by the words of which its name is made."""
    for item in items:
        mark = item.get_closest_marker("slow_with")
        if mark and isinstance(item, pytest.Function) and {*mark.args} & {*item.callspec.id.split("-")}:
            item.add_marker(pytest.mark.slow)
