"""The reasons why an app cannot be installed, with the remedies for containers and for hosts."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = "{}.{}".format(*sys.version_info)

NETWORK = "network"
LOGIN = "login"
SYSTEM = "system"
GIT = "git"
OWN = "own"
ABSENT = "absent"
PACKAGES = "packages"
PYTHON = "python"

SIGNS = {
    r"Git executable not found": GIT,
    r"\b40[13]\b (Unauthorized|Forbidden)|HTTP status client error \(40[13]|could not read Username": LOGIN,
    r"Authentication failed|Missing credentials": LOGIN,
    r"pg_config|mysql_config|mariadb_config|gdal-config|pkg-config|Can not find valid pkg": SYSTEM,
    r"'g?cc'|C compiler|fatal error: .*\.h|command .*(gcc|g\+\+|cc|rustc|cargo)\b": SYSTEM,
    r"not found in the (package registry|provided package locations|cache)": ABSENT,
    r"requires-python|Python requirement|does not satisfy Python|Requires-Python": PYTHON,
    r"No solution found|unsatisfiable": OWN,
    r"Failed to fetch|error sending request|[Nn]etwork|Could not resolve host|unable to access": NETWORK,
    r"dns error|timed out|certificate": NETWORK,
}
"""Causes of uv's failures, by a regular expression of its output; the first match counts."""

CONTAINER = {
    NETWORK: "The package index must be reachable; behind a CA of your own, name its bundle in CELERYKIT_CA_BUNDLE",
    LOGIN: "Write the login into a file, as machine HOST login NAME password PASSWORD, and name it in CELERYKIT_NETRC",
    SYSTEM: "It wants a compiler or a library of the system. Name Debian's packages, such as "
    "CELERYKIT_APT='gcc python3-dev libpq-dev', and build again: docker compose build; or require the package's "
    "binary form, such as psycopg2-binary",
    PACKAGES: "Name all that the file lists in CELERYKIT_APT, and build the images again: docker compose build",
    GIT: "Have git in the image: CELERYKIT_APT=git docker compose build",
    ABSENT: "Name the index that has it, beside PyPI, in PIP_EXTRA_INDEX_URL; or have its wheel in the app's folder "
    "and --find-links FOLDER in requirements.txt",
    PYTHON: f"This is Python {VERSION}: have the requirements allow it, or name an image of Debian or Ubuntu with the "
    "app's Python in CELERYKIT_BASE, such as python:3.12-slim, and build again: docker compose build",
    OWN: "The app's own requirements cannot all be met, see above; none of the kit's is among them",
}
"""The remedy for each cause, for an app that a container of the kit installs."""

HOST = {
    **CONTAINER,
    PYTHON: f"This host has Python {VERSION}: have the requirements allow it, or take a host that has the app's Python",
    NETWORK: "The package index must be reachable from this host: name a CA bundle in celery_ca_bundle, an index of "
    "your own in celery_index_url, or a folder of wheels in celery_wheelhouse",
    LOGIN: "Give the login in celery_index_url, or have the file in a folder that celery_wheelhouse names",
    ABSENT: "Name the index that has it in celery_index_url, or a folder with its wheel in celery_wheelhouse; or have "
    "the wheel in the app's folder and --find-links FOLDER in requirements.txt",
    SYSTEM: "It wants a compiler or a library of the system. Name Debian's packages in a file apt.txt of the app's "
    "folder, such as gcc, python3-dev and libpq-dev; or require the package's binary form, such as psycopg2-binary",
    PACKAGES: "Deploy with the tag packages, too, which installs them",
    GIT: "Write git into a file apt.txt of the app's folder",
}
"""The remedy for each cause, for a host that the role deploys."""

PASSWORD = re.compile(r"(://)[^@/\s'\"]*@")


class AppError(Exception):
    """The app cannot be installed; the message gives the reason, and ``cause`` selects a remedy, if there is one."""

    def __init__(self, problem: str, cause: str = ""):
        super().__init__(problem)
        self.cause = cause

    def describe(self, remedies: Mapping[str, str]) -> str:
        """Return the problem with its remedy, for people.

        :param remedies: :data:`CONTAINER` or :data:`HOST`.
        """
        return "\n".join(filter(None, (str(self).rstrip(), remedies.get(self.cause, ""))))


def cause_of(output: str) -> str:
    """Return the cause of a failure from uv's output, an empty string if it is unknown."""
    return next((cause for sign, cause in SIGNS.items() if re.search(sign, output)), "")


def mask(text: str) -> str:
    """Return a text without the logins of its URLs."""
    return PASSWORD.sub(r"\1***@", text)
