"""Replacements for features that older releases of Celery, Kombu and redis-py lack."""
