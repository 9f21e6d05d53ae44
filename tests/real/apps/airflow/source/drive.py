"""Trigger a DAG by the command line, as a user does, and ask Airflow's records which of its jobs are done."""

import json
import subprocess
import sys
import uuid

from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from driving import drive
from sqlalchemy import select

DAG = "load"


def send(number: int) -> list[str]:
    """Trigger a run of so many jobs, and return a key for each."""
    run = f"by-hand-{uuid.uuid4().hex}"
    command = ("airflow", "dags", "trigger", DAG, "--run-id", run, "--conf", json.dumps({"number": number}))
    subprocess.run(command, check=True, stdout=sys.stderr)
    return [f"{run}/{job}" for job in range(number)]


def done(_: list[str]) -> list[str]:
    """Return the keys of all jobs that Airflow has as a success."""
    wanted = (TaskInstance.dag_id == DAG, TaskInstance.task_id == "work", TaskInstance.state == "success")
    with create_session() as session:
        found = session.execute(select(TaskInstance.run_id, TaskInstance.map_index).where(*wanted))
        return [f"{run}/{job}" for run, job in found]


drive(send, done)
