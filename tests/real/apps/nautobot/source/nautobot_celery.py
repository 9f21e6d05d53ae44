"""Nautobot's Celery app, with Nautobot's own setup before it, as for each program beside ``nautobot-server``."""

import nautobot

nautobot.setup()

from nautobot.core.celery import app  # noqa: E402

__all__ = ["app"]
