"""pretix' REST API, asked within this process by a team's token."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pretix.settings")
django.setup()

from django_scopes import scopes_disabled  # noqa: E402
from pretix.base.models import TeamAPIToken  # noqa: E402
from rest_framework.test import APIClient  # noqa: E402

EVENT = "organizers/acme/events/fair"


def ask(method, address, **body):
    """Ask the API for what is of the organizer's, and return its answer."""
    with scopes_disabled():
        token = TeamAPIToken.objects.get().token
    client = APIClient(headers={"Authorization": f"Token {token}"})
    said = getattr(client, method)(f"/api/v1/{address}/", body, format="json")
    assert said.status_code < 300, said.content
    return said.json()


def order():
    """Order the fair's first product, and return the order's code."""
    known = {"email": "a@example.com", "locale": "en", "sales_channel": "web", "payment_provider": "manual", "fees": []}
    place = {"item": ask("get", f"{EVENT}/items")["results"][0]["id"], "variation": None, "answers": []}
    address = {"is_business": False, "name": "A", "street": "1 B", "zipcode": "1", "city": "C", "country": "DE"}
    return ask("post", f"{EVENT}/orders", **known, status="p", positions=[place] * 5, invoice_address=address)["code"]
