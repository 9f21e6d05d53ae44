"""Send jobs of the example, and look at the widgets that they rename."""

from __future__ import annotations

import django
from driving import drive

django.setup()

from demoapp.models import Widget  # noqa: E402  # after the set-up
from demoapp.tasks import rename_widget  # noqa: E402


def send(number: int) -> list[int]:
    """Have widgets renamed, and return their ids."""
    widgets = [Widget.objects.create(name="new") for _ in range(number)]
    for widget in widgets:
        rename_widget.delay(widget.id, "renamed")
    return [widget.id for widget in widgets]


drive(send, lambda _: list(Widget.objects.filter(name="renamed").values_list("id", flat=True)))
