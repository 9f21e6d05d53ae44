"""Marks of tests that are for some releases of Celery alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celerykit import differences, releases

if TYPE_CHECKING:
    from _pytest.mark.structures import MarkDecorator


def since(difference: str) -> MarkDecorator:
    """Leave a test out where the installed releases lack something of ``releases.DIFFERENCES``."""
    told = differences.DIFFERENCES[difference]
    return pytest.mark.skipif(releases.lacks(difference), reason=f"{told.package} lacks {told.lacks}")
