"""As its docs on async queries and on alerts have it; broker and result backend are the stack's."""

import os

from cachelib.redis import RedisCache
from celery.schedules import crontab

SECRET_KEY = os.environ["SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = os.environ["DATABASE_URL"]
FEATURE_FLAGS = {"ALERT_REPORTS": True}
RESULTS_BACKEND = RedisCache(host="cache", key_prefix="superset_results")


class CeleryConfig:
    """All that its docs name, but ``broker_url`` and ``result_backend``."""

    imports = ("superset.sql_lab", "superset.tasks.scheduler")
    worker_prefetch_multiplier = 10
    task_acks_late = True
    task_annotations = {"sql_lab.get_sql_results": {"rate_limit": "100/s"}}  # noqa: RUF012  # as its docs have it
    beat_schedule = {  # noqa: RUF012  # as its docs have it
        "reports.scheduler": {"task": "reports.scheduler", "schedule": crontab(minute="*", hour="*")},
        "reports.prune_log": {"task": "reports.prune_log", "schedule": crontab(minute="*", hour="*")},
    }


CELERY_CONFIG = CeleryConfig
