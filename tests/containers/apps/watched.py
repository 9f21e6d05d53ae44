"""An app that says which visibility timeout the worker's live channel has."""

from celery import Celery, signals

app = Celery("watched", include=["celerykit_survival"])


@signals.worker_ready.connect
def tell(sender, **_):
    """Print the value in force."""
    print(f"visibility_timeout={sender.connection.default_channel.visibility_timeout}", flush=True)
