"""What older releases of Celery, Kombu and redis-py lack, and what the kit does in its place."""
