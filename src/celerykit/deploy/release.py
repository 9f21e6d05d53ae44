"""The release of an app: the archive that is copied to a host, and the folder that is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from celerykit.app import system
from celerykit.deploy import archive, sources

if TYPE_CHECKING:
    from celerykit.deploy.variables import Variables


class Release(TypedDict):
    """The archive on the controller, and its folder on the host."""

    archive: str
    release: str
    path: str
    left_out: list[str]
    """Files of the app's folder that are not deployed, with the reasons."""
    packages: list[str]
    """The packages of the system that the app wants."""


def make(values: Variables, root: str, kit: str) -> Release:
    """Return the release of the app, below the folder of the app on the host.

    :param kit: the identity of the kit; another kit makes another release.
    :raises SourceError: if the app cannot be had.
    """
    source = sources.read(values["app_source"])
    packed = archive.pack("app", source.content)
    name = f"release-{archive.digest({'app': packed.stem.encode(), 'kit': kit.encode()})}"
    return {
        "archive": str(packed),
        "release": name,
        "path": f"{root}/app/{name}",
        "left_out": list(source.left_out),
        "packages": system.listed(archive.text(source.content, system.FILE)),
    }
