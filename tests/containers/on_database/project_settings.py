"""The settings of a Django project with its schedule in its database."""

SECRET_KEY = "for a test"
INSTALLED_APPS = ["django_celery_beat"]
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/var/lib/celery/database"}}
