"""Checks of a configuration, an app or a host; none of them starts a worker."""
