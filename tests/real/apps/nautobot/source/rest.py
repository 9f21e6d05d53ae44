"""Nautobot's REST API, asked within this process as its administrator."""

import nautobot

nautobot.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from nautobot.extras.models import Job  # noqa: E402
from rest_framework.test import APIClient  # noqa: E402


def administrator():
    """Return the user who may do everything."""
    return get_user_model().objects.get(username="admin")


def job(name):
    """Return Nautobot's record of a job, by the name of its class."""
    return Job.objects.get(job_class_name=name)


def ask(method, address, **body):
    """Ask the API as the administrator, and return its answer."""
    client = APIClient()
    client.force_authenticate(administrator())
    said = getattr(client, method)(f"/api/{address}/", body, format="json")
    assert said.status_code < 300, said.content
    return said.json()


def run(name, **body):
    """Have Nautobot run a job, by the name of its class."""
    return ask("post", f"extras/jobs/{job(name).pk}/run", **body)
