"""Make an event with a product that many have ordered, and one that is sold out and waited for."""

from datetime import timedelta

from rest import EVENT, ask, order  # sets Django up

from django.utils.timezone import now  # isort: skip
from django_scopes import scopes_disabled  # isort: skip
from pretix.base.models import Event, Organizer  # isort: skip

with scopes_disabled():
    acme = Organizer.objects.create(name="Acme", slug="acme")
    team = acme.teams.create(name="Office", all_events=True, all_event_permissions=True, all_organizer_permissions=True)
    team.tokens.create(name="REST")

begin = now() + timedelta(days=30)
fair = {"name": {"en": "Fair"}, "slug": "fair", "currency": "EUR", "date_from": begin.isoformat()}
ask("post", "organizers/acme/events", **fair, live=False, plugins=["pretix.plugins.manualpayment"])
for name, places in {"Ticket": 100_000, "Sold out": 0}.items():
    item = ask("post", f"{EVENT}/items", name={"en": name}, default_price="23.00", active=True)["id"]
    ask("post", f"{EVENT}/quotas", name=name, size=places, items=[item], variations=[])
ask("patch", f"{EVENT}/settings", invoice_generate="admin", waiting_list_enabled=True, waiting_list_auto=True)
ask("post", f"{EVENT}/waitinglistentries", email="b@example.com", item=item, variation=None, locale="en")
for _ in range(50):
    order()
with scopes_disabled():
    Event.objects.get().settings.payment_manual__enabled = True
ask("patch", EVENT, live=True)
