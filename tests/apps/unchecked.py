"""An app that believes whoever answers."""

import ssl

from celery import Celery

app = Celery("unchecked", broker="rediss://127.0.0.1:1/0")
app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_NONE}
