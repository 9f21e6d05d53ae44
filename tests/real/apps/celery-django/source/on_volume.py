"""The example's settings, with its files on a volume that the worker may write."""

from proj.settings import *  # noqa: F403

CELERY_RESULT_BACKEND = "db+sqlite:////var/lib/celery/results.sqlite"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/var/lib/celery/db.sqlite3"}}
