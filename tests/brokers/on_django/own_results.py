"""A result backend of an app's own, as of one that keeps results among its own records."""

from django_celery_results.backends import DatabaseBackend


class OwnBackend(DatabaseBackend):
    """The package's, under another name."""
