"""The same in an app that takes 50 MB for itself, as one does that imports a few large libraries."""

import workloads
from on_celery import app

__all__ = ["app"]

IMPORTED = bytearray(b"\1") * (50 * workloads.MB)
