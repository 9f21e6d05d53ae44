"""An app with its schedule in Redis, as RedBeat's documentation has it."""

import os

from celery import Celery

app = Celery("on_redis", include=["celerykit_survival"])
app.conf.beat_scheduler = "redbeat.RedBeatScheduler"
app.conf.redbeat_redis_url = os.environ["CELERY_BROKER_URL"]
app.conf.redbeat_lock_timeout = 20
app.conf.beat_max_loop_interval = 15
app.conf.beat_schedule = {"every-5-s": {"task": "jobs.tick", "schedule": 5.0, "args": ["tick"]}}
