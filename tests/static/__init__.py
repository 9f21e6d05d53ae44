"""Cheap checks over the whole repository."""
