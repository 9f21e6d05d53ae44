"""An app whose visibility timeout is shorter than its jobs."""

from celery import Celery

app = Celery("impatient", include=["celerykit_survival"])
app.conf.broker_transport_options = {"visibility_timeout": 5}
