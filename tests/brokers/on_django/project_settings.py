"""The settings of a Django project whose jobs' results are in its own database."""

import os

SECRET_KEY = "for a test"
INSTALLED_APPS = ["django_celery_results"]
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "postgresql",
        "NAME": "celery",
        "USER": "celery",
        "PASSWORD": os.environ["DATABASE_PASSWORD"],
        "OPTIONS": {"connect_timeout": 2},
    }
}
CELERY_RESULT_BACKEND = os.environ["RESULTS"]
