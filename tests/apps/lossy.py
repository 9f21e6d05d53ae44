"""An app with every setting that loses jobs or gives them away."""

from celery import Celery

app = Celery("lossy", broker="rediss://127.0.0.1:1/0", backend="rediss://127.0.0.1:1/1?ssl_cert_reqs=none")
app.conf.update(
    task_acks_late=False,
    task_reject_on_worker_lost=False,
    accept_content=["json", "pickle"],
    broker_transport_options={"visibility_timeout": 5},
    task_default_delivery_mode="transient",
    result_expires=None,
    broker_use_ssl={"ssl_cert_reqs": "none"},
)


@app.task(name="work")
def work():
    """Do nothing."""
