"""Statistics of source files: one job a file, and a summary."""

from sourcestats.celery import app

__all__ = ("app",)
