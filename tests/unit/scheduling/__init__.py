"""Tests of the room scheduling."""
