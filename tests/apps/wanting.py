"""An app that cannot be imported without a variable of its own."""

import os

from celery import Celery

print("the app has", os.environ["SECRET_KEY"])
app = Celery("wanting")
