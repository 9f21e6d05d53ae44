"""Send jobs as a user of Airflow does, and ask its records for those that are done."""

import json
import subprocess
import sys
import uuid

from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import select

DAG = "load"


def send(number: str) -> list[str]:
    """Trigger a run with so many jobs."""
    run = f"by-hand-{uuid.uuid4().hex}"
    command = ["airflow", "dags", "trigger", DAG, "--run-id", run, "--conf", json.dumps({"number": int(number)})]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return [f"{run}/{job}" for job in range(int(number))]


def done() -> list[str]:
    """Return the run and the number of each job that Airflow has as a success."""
    wanted = (TaskInstance.dag_id == DAG, TaskInstance.task_id == "work", TaskInstance.state == "success")
    with create_session() as session:
        found = session.execute(select(TaskInstance.run_id, TaskInstance.map_index).where(*wanted))
        return [f"{run}/{job}" for run, job in found]


if __name__ == "__main__":
    answer = send(sys.argv[2]) if sys.argv[1] == "send" else done()
    print(json.dumps(answer))
