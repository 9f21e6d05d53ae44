"""Send queries by the REST API as SQL Lab does, and ask Superset's table of queries which of them have succeeded."""

import json
import os
import secrets
from urllib.request import HTTPCookieProcessor, Request, build_opener

import psycopg2
from driving import drive

WEB = "http://web:8088/api/v1/"
DATABASE = "postgresql+psycopg2://postgres@database/postgres"
SQL = "SELECT count(*) FROM generate_series(1, 5000000)"  # a second or two; Superset refuses pg_sleep()
open_ = build_opener(HTTPCookieProcessor()).open
headers = {"Content-Type": "application/json", "Referer": WEB}


def ask(path: str, **told: object) -> dict:
    """Return what the API answers, to a POST if there is something to tell it."""
    body = json.dumps(told).encode() if told else None
    with open_(Request(WEB + path, data=body, headers=headers), timeout=60) as answer:  # noqa: S310  # by HTTP alone
        return json.load(answer)


def log_in() -> None:
    """Become the admin, with a token against forged requests."""
    who = {"username": "admin", "password": "admin", "provider": "db", "refresh": False}
    headers["Authorization"] = f"Bearer {ask('security/login', **who)['access_token']}"
    headers["X-CSRFToken"] = ask("security/csrf_token/")["result"]


def database() -> int:
    """Return the database that is asked, made by the first to ask for it, with an alert that is never raised."""
    if found := ask("database/")["ids"]:
        return found[0]
    made = ask("database/", database_name="numbers", sqlalchemy_uri=DATABASE, allow_run_async=True)["id"]
    ask(
        "report/",
        type="Alert",
        name="never",
        crontab="* * * * *",
        database=made,
        sql="SELECT 0",
        validator_type="operator",
        validator_config_json={"op": ">", "threshold": 1},
        recipients=[{"type": "Email", "recipient_config_json": {"target": "a@example.org"}}],
        dashboard=ask("dashboard/", dashboard_title="numbers")["id"],
    )
    return made


def send(number: int) -> list[str]:
    """Send so many queries, and return the ids that a client gives them."""
    log_in()
    where = database()
    ids = [secrets.token_hex(5) for _ in range(number)]
    for one in ids:
        ask("sqllab/execute/", client_id=one, database_id=where, sql=SQL, runAsync=True)
    return ids


def done(sent: list[str]) -> list[str]:
    """Return the ids of the queries that have succeeded."""
    with psycopg2.connect(os.environ["DATABASE_URL"].replace("+psycopg2", "")).cursor() as cursor:
        cursor.execute("SELECT client_id FROM query WHERE status = 'success' AND client_id = ANY(%s)", (sent,))
        return [one for (one,) in cursor]


drive(send, done)
