"""The app: the kind of its folder, the packages that its own tool would install, and the release made of both.

Containers and hosts both use this, see :mod:`celerykit.app.release`.
"""
