"""The kit on older releases of Celery, in processes of this machine: each release has a virtualenv of its own."""
