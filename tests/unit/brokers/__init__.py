"""Tests of the room brokers."""
