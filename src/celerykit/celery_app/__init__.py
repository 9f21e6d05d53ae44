"""The Celery app under the kit: where it is found, the defaults below its own settings, and which of both holds."""
