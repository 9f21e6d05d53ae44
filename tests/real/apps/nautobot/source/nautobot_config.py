"""Nautobot's settings: its own, which read the variables of ``app.env``."""

from nautobot.core.settings import *  # noqa: F403
