"""Submit jobs where nobody outside reaches the broker: ``python -m celerykit_submit NUMBER SECONDS [OPTIONS]``."""

import json
import os
import sys
import time
import uuid
from pathlib import Path

from celery import Celery
from celerykit_survival import FOLDER, note

URL = "CELERY_BROKER_URL"


def main(number: int, seconds: float, priorities=(None,), pause: float = 0.0, **options: object) -> None:
    """Send ``number`` jobs of ``seconds`` each, the priorities in turn, and write down which were accepted.

    :param pause: the seconds between them, for brokers that know times only and tell no finer ones apart.
    """
    url = os.environ.get(URL) or Path(os.environ[f"{URL}_FILE"]).read_text()
    app = Celery("client", broker=url)
    # A broker of AMQP has not accepted what it has not confirmed: at the end of this process that may be lost.
    confirm = {"confirm_publish": True} if url.startswith("amqp") else {}
    app.conf.broker_transport_options = {**confirm, **json.loads(os.environ.get("BROKER_OPTIONS") or "{}")}
    for index in range(number):
        job = str(uuid.uuid4())
        priority = priorities[index % len(priorities)]
        app.send_task("jobs.work", args=[seconds], task_id=job, priority=priority, **options)
        note(FOLDER, "accepted", job)
        time.sleep(pause)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), **json.loads(sys.argv[3] if len(sys.argv) > 3 else "{}"))
    os._exit(0)  # the threads of PGMQ's client would hold up the end
