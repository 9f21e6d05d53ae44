"""Enable the user's job, and have Nautobot run one of its own each minute."""

from rest import administrator, ask, job  # sets Nautobot up

from nautobot.extras.models import ScheduledJob  # isort: skip

for name in ("FillNetwork", "LogsCleanup"):
    ask("patch", f"extras/jobs/{job(name).pk}", enabled=True)
ScheduledJob.create_schedule(
    job("LogsCleanup"),
    administrator(),
    name="clean up",
    interval="custom",
    crontab="* * * * *",
    job_kwargs={"cleanup_types": ["extras.JobResult"], "max_age": 30},
)
