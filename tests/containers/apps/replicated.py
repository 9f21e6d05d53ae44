"""An app whose Redis fails over."""

from celery import Celery

app = Celery("replicated", include=["celerykit_survival"])
app.conf.broker_transport_options = {"master_name": "jobs"}
