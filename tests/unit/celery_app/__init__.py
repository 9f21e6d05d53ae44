"""Tests of the room celery_app."""
