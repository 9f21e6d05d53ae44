"""Have the files of the kit on a host as planned: written in one step, compared in one step."""

from __future__ import annotations

import contextlib
import grp
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: celery_files
short_description: Have the files of the kit on a host as planned
description:
  - Compares and writes all files, links and folders of the kit in one call, many times faster than a task for each.
  - Remembers what it has written, and removes what is planned no more.
  - Notes each unit that reads a changed file as pending before anything is changed, so that a play that is cut short is
    made up for by the next.
options:
  files:
    description: What is planned.
    type: list
    elements: dict
    required: true
    suboptions:
      path: { description: Where it is., type: path, required: true }
      phase: { description: The phase of the role that it belongs to., type: str, required: true }
      text: { description: What a file holds., type: str }
      hidden_text: { description: "The same for a text with secrets in it, which no log shows.", type: str }
      link: { description: Where a link leads., type: str }
      needs: { description: What must be there before the link is made., type: path }
      mode: { description: "Of a file or folder, such as 0644.", type: str, default: "0644" }
      group: { description: Of a file or folder., type: str, default: root }
      secret: { description: Whether the whole text is a secret., type: bool, default: false }
      units: { description: What reads it., type: list, elements: str, default: [] }
      systemd: { description: Only with this release of systemd or a newer one., type: int, default: 0 }
  phases: { description: The phases that take part; files of others are left alone., type: list, elements: str }
  manifest: { description: Where is remembered what was written., type: path, required: true }
  pending: { description: The folder of the notes., type: path, required: true }
  secret_names: { description: Pattern of variables whose values no diff shows., type: str, default: "(?!)" }
  secret_urls: { description: "Pattern of passwords in values; its first group stays.", type: str, default: "(?!)" }
"""

EXAMPLES = """
- name: Have an env file, and note which unit reads it
  celerykit.kit.celery_files:
    files:
      - path: /etc/celery/celery.env
        phase: configure
        text: "CELERY_APP=myapp\\n"
        mode: "0640"
        group: celery
        units: [celeryd@default]
    phases: [configure]
    manifest: /opt/celery/files.json
    pending: /opt/celery/pending
"""

RETURN = """
paths: { description: The paths that differed., type: list }
touched: { description: "The units that are to be restarted, of this run and of earlier ones.", type: list }
missing: { description: What links need that is not there yet., type: list }
knows_packages: { description: Whether Ansible's modules for packages can say what they would do., type: bool }
"""

RELOAD = "daemon-reload"
UNITS = "/etc/systemd/system/"
PACKAGE_LIBRARIES = ("apt", "dnf", "libdnf5")
"""Without one of them, Ansible's modules for packages cannot say what they would do."""


class Host:
    """The files of one host, under ``root``."""

    def __init__(self, parameters: dict[str, Any], check_mode: bool, root: str = "/", owner: int = 0):
        self.parameters = parameters
        self.owner = owner
        self.root = Path(root)
        self.check_mode = check_mode
        self.pending = self._at(parameters["pending"])
        self.touched = {path.name for path in self.pending.iterdir()} if self.pending.is_dir() else set()
        self.changed: list[str] = []
        self.diff: list[dict[str, str]] = []

    def converge(self) -> dict[str, Any]:
        """Write what differs and remove what is planned no more, or only say so; return what there is to do beside."""
        wanted = {entry["path"]: entry for entry in self._planned()}
        known = self._known()
        leaving = [path for path, note in known.items() if self._takes_part(note) and path not in wanted]
        differing = [entry for entry in wanted.values() if not self._is_there(entry)]
        for path in leaving:
            self._touch(path, known[path]["units"])
        for entry in differing:
            self._touch(entry["path"], entry["units"])
        for entry in differing:
            self.changed.append(entry["path"])
            self._show(entry)
            if not self.check_mode:
                self._write(entry)
        for path in leaving:
            self._remove(path)
        notes = {path: note for path, note in known.items() if path not in leaving}
        notes.update({path: {"phase": entry["phase"], "units": entry["units"]} for path, entry in wanted.items()})
        if notes != known and not self.check_mode:
            text = json.dumps(notes, indent=1, sort_keys=True)
            self._replace(self._at(self.parameters["manifest"]), text, 0o600, -1)
        needed = [entry["needs"] for entry in wanted.values() if entry["needs"]]
        return {
            "changed": bool(self.changed),
            "paths": self.changed,
            "touched": sorted(self.touched),
            "missing": [path for path in needed if not self._at(path).exists()],
            "knows_packages": any(importlib.util.find_spec(name) for name in PACKAGE_LIBRARIES),
            "diff": self.diff,
        }

    def _planned(self) -> list[dict[str, Any]]:
        entries = [{**entry, "text": text_of(entry)} for entry in self.parameters["files"]]
        here = systemd_version() if any(entry["systemd"] for entry in entries) else 0
        return [entry for entry in entries if self._takes_part(entry) and entry["systemd"] <= here]

    def _takes_part(self, note: dict[str, Any]) -> bool:
        return note["phase"] in self.parameters["phases"]

    def _known(self) -> dict[str, dict[str, Any]]:
        text = read(self._at(self.parameters["manifest"]))
        return json.loads(text) if text else {}

    def _touch(self, path: str, units: list[str]) -> None:
        """Note what reads a file before it changes."""
        for name in [*units, *([RELOAD] if path.startswith(UNITS) else [])]:
            self.touched.add(name)
            if not self.check_mode:
                self.pending.mkdir(mode=0o700, parents=True, exist_ok=True)
                (self.pending / name).touch()

    def _is_there(self, entry: dict[str, Any]) -> bool:
        at = self._at(entry["path"])
        if entry["link"] is not None:
            return at.is_symlink() and os.readlink(at) == entry["link"]  # noqa: PTH115  # as it is written
        if at.is_symlink() or not at.exists():
            return False
        found = at.stat()
        if (found.st_mode & 0o7777, found.st_uid, found.st_gid) != (
            int(entry["mode"], 8),
            self.owner,
            group(entry["group"]),
        ):
            return False
        return at.is_dir() if entry["text"] is None else at.is_file() and read(at) == entry["text"]

    def _write(self, entry: dict[str, Any]) -> None:
        at = self._at(entry["path"])
        at.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if entry["link"] is not None:
            link(at, entry["link"])
        elif entry["text"] is None:
            at.mkdir(exist_ok=True)
            os.chown(at, self.owner, group(entry["group"]))
            at.chmod(int(entry["mode"], 8))
        else:
            self._replace(at, entry["text"], int(entry["mode"], 8), group(entry["group"]))

    def _replace(self, at: Path, text: str, mode: int, owning_group: int) -> None:
        """Put a file there in one step, never readable for more than it may be."""
        at.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=at.parent, prefix=".draft-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchown(descriptor, self.owner, owning_group)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        Path(draft).replace(at)

    def _remove(self, path: str) -> None:
        at = self._at(path)
        self.changed.append(path)
        self.diff.append(shown(path, "(removed)\n", ""))
        if self.check_mode:
            return
        with contextlib.suppress(FileNotFoundError):
            at.unlink()
        with contextlib.suppress(OSError):  # where it was the last drop-in of its unit
            if path.startswith(UNITS):
                at.parent.rmdir()

    def _show(self, entry: dict[str, Any]) -> None:
        at = self._at(entry["path"])
        if entry["link"] is not None:
            before = f"-> {os.readlink(at)}\n" if at.is_symlink() else ""  # noqa: PTH115
            self.diff.append(shown(entry["path"], before, f"-> {entry['link']}\n"))
            return
        before, after = self._masked(read(at)), self._masked(entry["text"] or "")
        if entry["secret"]:
            before, after = "(a secret)\n" if at.exists() else "", "(a secret, changed)\n"
        after = f"# {entry['mode']} root:{entry['group']}\n{after}"
        self.diff.append(shown(entry["path"], rights(at) + before, after))

    def _masked(self, text: str) -> str:
        return "".join(map(self._masked_line, text.splitlines(keepends=True)))

    def _masked_line(self, line: str) -> str:
        name, separator, value = line.partition("=")
        if separator and not name.endswith("_FILE") and re.search(self.parameters["secret_names"], name):
            return f"{name}=***\n"
        return name + separator + re.sub(self.parameters["secret_urls"], r"\1***@", value)

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")


def read(at: Path) -> str:
    """Return what a file holds, nothing where there is none."""
    try:
        return at.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, IsADirectoryError):
        return ""


def link(at: Path, target: str) -> None:
    """Lead a link elsewhere in one step."""
    draft = at.with_name(f".draft-{at.name}")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    draft.symlink_to(target)
    if at.is_dir() and not at.is_symlink():
        shutil.rmtree(at)
    draft.replace(at)


def rights(at: Path) -> str:
    """Return a line that says who may do what with a file."""
    if not at.exists():
        return ""
    found = at.stat()
    names = [str(found.st_uid) if found.st_uid else "root", str(found.st_gid)]
    with contextlib.suppress(KeyError):
        names[1] = grp.getgrgid(found.st_gid).gr_name
    return f"# {found.st_mode & 0o7777:04o} {':'.join(names)}\n"


def shown(path: str, before: str, after: str) -> dict[str, str]:
    """Return one part of a diff."""
    return {"before_header": path, "after_header": path, "before": before, "after": after}


def text_of(entry: dict[str, Any]) -> str | None:
    """Return what a file holds, however it was given."""
    text: str | None = entry["text"] if entry["hidden_text"] is None else entry["hidden_text"]
    return text


def group(name: str) -> int:
    """Return the number of a group; one that is not there yet, as in check mode, owns nothing."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return -1


def systemd_version() -> int:
    """Return the release of systemd, 0 where there is none."""
    try:
        answer = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return 0
    found = re.match(r"systemd (\d+)", answer)
    return int(found.group(1)) if found else 0


def main() -> None:
    """Run the module."""
    entry = {
        "path": {"type": "path", "required": True},
        "phase": {"type": "str", "required": True},
        "text": {"type": "str"},
        "hidden_text": {"type": "str", "no_log": True},
        "link": {"type": "str"},
        "needs": {"type": "path"},
        "mode": {"type": "str", "default": "0644"},
        "group": {"type": "str", "default": "root"},
        "secret": {"type": "bool", "default": False, "no_log": False},
        "units": {"type": "list", "elements": "str", "default": []},
        "systemd": {"type": "int", "default": 0},
    }
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True, "options": entry},
            "phases": {"type": "list", "elements": "str", "required": True},
            "manifest": {"type": "path", "required": True},
            "pending": {"type": "path", "required": True},
            "secret_names": {"type": "str", "default": "(?!)", "no_log": False},
            "secret_urls": {"type": "str", "default": "(?!)", "no_log": False},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    module.exit_json(**Host(module.params, module.check_mode).converge())


if __name__ == "__main__":
    main()
