"""Its tasks, which know no Celery app."""

from celery import shared_task


@shared_task(name="say")
def say(what=""):
    """Do nothing."""


@shared_task(name="other")
def other():
    """Do nothing."""
