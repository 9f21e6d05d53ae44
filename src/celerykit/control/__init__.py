"""Celery's remote control of workers, and the revocations that the broker keeps."""
