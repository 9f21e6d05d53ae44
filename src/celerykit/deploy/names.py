"""Names that an app has on a host: of its folders, its user, and its units."""

from __future__ import annotations

import hashlib
import re

from celerykit.instance import BEAT, FLOWER, UMBRELLA

OWN = re.compile(r"(?<![\w-])(celery-flower|celery-folders|celerybeat|celeryd|celery)(?![\w-]|\.env)")
"""A name that is one app's alone: of a unit, a folder, a user; not of a file in such a folder."""
SERVER = re.compile(r"\b(redis|valkey)-server\.service")
INITTAB = re.compile(r"\bck:")
DESCRIPTION = re.compile(r"^Description=.*", re.MULTILINE)


class Names:
    """The names of one app."""

    def __init__(self, instance: str):
        self.instance = instance
        self.root, self.etc, self.user = (named(word, instance) for word in ("/opt/celery", "/etc/celery", "celery"))
        self.umbrella, self.beat, self.flower = (named(word, instance) for word in (UMBRELLA, BEAT, FLOWER))

    def unit(self, pool: str) -> str:
        """Return the unit of a pool."""
        return f"{self.umbrella}@{pool}"


def named(text: str, instance: str) -> str:
    """Return a name or a file of the kit's as it is for an instance: names of its own end in that of the instance.

    That is all in which the files of two apps differ.

    :param instance: nothing for the app without a name, whose files are those of the kit.
    """
    if not instance:
        return text
    text = OWN.sub(rf"\1-{instance}", text)
    text = SERVER.sub(rf"\1-server.service \1-server@{instance}.service", text)
    text = DESCRIPTION.sub(rf"\g<0>, of {instance}", text)
    # An entry of inittab has a name of four characters at most.
    return INITTAB.sub(f"c{hashlib.sha256(instance.encode()).hexdigest()[:3]}:", text)


def phase_of(unit: str) -> str:
    """Return the phase of a playbook's run that a unit belongs to."""
    return next((phase for name, phase in ((BEAT, "beat"), (FLOWER, "flower")) if unit.startswith(name)), "pools")
