"""The same with a prefix; a Django project's settings, too."""

from asked import OWN

SECRET_KEY = "of no use"
INSTALLED_APPS = ["store"]
USE_TZ = True
globals().update({f"CELERY_{name.upper()}": value for name, value in OWN.items()})
