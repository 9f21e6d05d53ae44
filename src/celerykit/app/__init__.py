"""The app: what kind of folder it is, what its own tool installs, and the release that is made of both.

Containers and hosts alike come through here, see :mod:`celerykit.app.release`.
"""
