"""The files of a host: their paths, texts, rights, and the units that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celerykit.config import envfile, settings
from celerykit.deploy.layout import SYSTEMD
from celerykit.deploy.rendering import section
from celerykit.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from celerykit.deploy.names import Names
    from celerykit.deploy.refusals import Refusals


class Files:
    """The files of a plan in their order, and their texts by the name that a check knows them by."""

    def __init__(self, names: Names, header: str, refusals: Refusals):
        self.entries: list[dict[str, Any]] = []
        self.texts: dict[str, str] = {}
        self.drop_ins: dict[str, str] = {}
        self.origins: dict[str, str] = {}
        """The variable of the role that each text comes from."""
        self._names = names
        self._header = header
        self._refusals = refusals

    def add(self, phase: str, path: str, **entry: Any) -> None:
        """Have a file, folder or link; the module ``celery_files`` documents the fields of an entry."""
        self.entries.append({"phase": phase, "path": path, **entry})

    def extend(self, entries: Iterable[dict[str, Any]]) -> None:
        """Have the files of a service manager."""
        self.entries += entries

    def keep(self, phase: str, file: str, text: str, origin: str, units: Sequence[str], *, secret: bool) -> str:
        """Have a file that only root and celery may read, and return its path; no log shows one that holds a secret."""
        self.texts[file], self.origins[file] = text, origin
        path = f"{self._names.etc}/{file}"
        kind = "hidden_text" if secret or _has_secret(text) else "text"
        rights = {"mode": "0640", "group": self._names.user}
        self.add(phase, path, **{kind: text}, **rights, units=list(units), secret=secret)
        return path

    def secret(self, phase: str, variable: str, value: str, units: Sequence[str]) -> dict[str, str]:
        """Put a value into a file of its own, and return the variable that names the file."""
        file = variable.removeprefix("CELERY_").removeprefix(settings.PREFIX).lower().replace("_", "-")
        role = "celery_" if variable.startswith("CELERY") else "celery_flower_options: "
        origin = f"{role}{file.replace('-', '_')}"
        return {f"{variable}_FILE": self.keep(phase, file, f"{value}\n", origin, units, secret=True)}

    def env(self, phase: str, file: str, values: Mapping[str, str], origin: str, units: Sequence[str]) -> None:
        """Have an env file; a value that no env file can hold is refused."""
        try:
            text = self._header + envfile.render(values)
        except ConfigurationError as exc:
            for finding in exc.findings:
                refused = f"{origin}: {finding.variable}={finding.value}"
                self._refusals.add(refused, finding.problem, finding.remedy)
            return
        self.keep(phase, file, text, origin, units, secret=False)

    def link_env(self, phase: str, file: str, target: str, unit: str) -> None:
        """Have a process share another's env file, by which both are known to be one pool."""
        if target in self.texts:  # and was not refused
            self.texts[file], self.origins[file] = self.texts[target], self.origins[target]
            self.add(phase, f"{self._names.etc}/{file}", link=target, units=[unit])

    def drop_in(self, phase: str, unit: str, name: str, lines: Mapping[str, Any], origin: str) -> None:
        """Have more directives of a unit; a value that no line can hold is refused."""
        try:
            text = self._header + section(lines)
        except ValueError as exc:
            self._refusals.add(f"{origin}: {exc}", "no line of a unit can say this", "Write one line's worth")
            return
        file = f"{unit}.service.d/{name}.conf"
        self.drop_ins[file], self.origins[file] = text, origin
        self.add(phase, f"{SYSTEMD}/{file}", text=text, units=[unit])


def _has_secret(text: str) -> bool:
    """Return whether a log would have to mask a line of an env file."""
    lines = (line for line in text.splitlines() if "=" in line)
    return any(envfile.mask(*line.split("=", 1)) not in line for line in lines)
