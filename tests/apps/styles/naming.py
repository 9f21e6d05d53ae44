"""A module of settings that names a task by its attribute, and so needs the app while the app needs it."""

import asked
from asked import OWN

globals().update(OWN)
beat_schedule = {"hourly": {"task": asked.SAY.name, "schedule": 3600.0}}
