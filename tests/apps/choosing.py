"""Print what apps have that say for themselves where their settings and their loader come from."""

import json
import os

from celery import Celery

from celerykit.celery_app.layer import layer_of

silent = Celery("silent")
loading = Celery("loading")
loading.config_from_object({"task_time_limit": 7})
own = Celery("own", loader="celery.loaders.app:AppLoader")
chosen = os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings.development")
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings.fixed"
limits = {app.main: app.conf.task_time_limit for app in (silent, loading)}
layers = {app.main: layer_of(app.conf) is not None for app in (silent, own)}
assigned = os.environ["DJANGO_SETTINGS_MODULE"]
print(json.dumps({"limits": limits, "layers": layers, "by default": chosen, "assigned": assigned}))
