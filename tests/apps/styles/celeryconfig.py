"""A module of settings, of which a test says what is in it."""

from asked import OWN

globals().update(OWN)
