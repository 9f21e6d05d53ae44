"""Have pretix make invoices of orders, and export all orders; its own rows tell which files are there."""

from driving import drive
from rest import EVENT, ask, order  # sets Django up

from django_scopes import scopes_disabled  # isort: skip
from pretix.base.models import CachedFile, Invoice  # isort: skip

EXPORT = {"_format": "xlsx", "paid_only": False}


def send(number):
    """Ask for as many invoices as exports."""
    for _ in range(number // 2):
        yield f"invoice {ask('post', f'{EVENT}/orders/{order()}/create_invoice')['number']}"
    for _ in range(number - number // 2):
        where = ask("post", f"{EVENT}/exporters/orderlist/run", **EXPORT)["download"]
        yield f"export {where.rstrip('/').rpartition('/')[2]}"


@scopes_disabled()
def done(sent):
    """Return those whose file is there."""
    made = {f"invoice {one.number}" for one in Invoice.objects.exclude(file="") if one.file}
    made |= {f"export {one.pk}" for one in CachedFile.objects.all() if one.file}
    return made.intersection(sent)


drive(send, done)
