"""What the scheduler starts by itself, each minute."""

from datetime import datetime, timezone

from airflow.sdk import dag, task


@dag(schedule="* * * * *", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False)
def tick() -> None:
    """Do one job."""

    @task(retries=2)
    def hand() -> None:
        pass

    hand()


tick()
