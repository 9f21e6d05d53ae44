"""Say which version of each package a host has, and which version its archives offer."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: celery_packages
short_description: Say which versions of packages a host has, or can have
description:
  - Asks apt or dnf, and installs nothing. Where apt has no list of packages yet, the module has the lists fetched.
  - A check fetches no list. On a host without lists it returns C(known=false), and nothing is known of any package.
options:
  names: { description: The packages., type: list, elements: str, required: true }
"""

EXAMPLES = """
- name: Ask which RabbitMQ the host can have
  celerykit.kit.celery_packages:
    names: [rabbitmq-server]
  register: asked

- name: Refuse an old one
  ansible.builtin.assert:
    that: not asked.known or asked.offered['rabbitmq-server'] is version('3.12', '>=')
"""

RETURN = """
known: { description: Whether the host knows what its archives offer., type: bool }
installed: { description: "The version that is installed, by package; the empty string for none.", type: dict }
offered: { description: "The version that an archive offers, by package; the empty string for none.", type: dict }
"""

UPSTREAM = re.compile(r"^(?:\d+:)?(\d+(?:\.\d+)*)")
"""What its authors call a version, in what a package's version says: an epoch before it, a revision behind it."""


class Apt:
    """The packages of Debian, and of what is made from it."""

    def __init__(self, root: str = "/"):
        self.lists = Path(root, "var/lib/apt/lists")

    def know(self, may_fetch: bool) -> bool:
        """Have lists of packages, and say whether they are there.

        :raises CommandError: if they cannot be fetched.
        """
        if not any(self.lists.glob("*_Packages*")) and may_fetch:
            done = run("apt-get", "update", "--quiet=2", "--error-on=any")
            if done.returncode:
                raise CommandError("the lists of packages cannot be fetched", done)
        return any(self.lists.glob("*_Packages*"))

    def installed(self, name: str) -> str:
        """Return the version that is installed."""
        done = run("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", name)
        state, _, version = done.stdout.partition(" ")
        return upstream(version) if done.returncode == 0 and state == "installed" else ""

    def offered(self, name: str) -> str:
        """Return the version that apt would install, unless no archive has the package."""
        if not run("apt-cache", "madison", name).stdout.strip():
            return ""
        found = re.search(r"Candidate: (\S+)", run("apt-cache", "policy", name).stdout)
        return upstream(found[1]) if found else ""


class Dnf:
    """The packages of the Red Hat family. Not tested: no host of this family could be had."""

    def know(self, may_fetch: bool) -> bool:
        """Say that dnf fetches its lists itself."""
        return True

    def installed(self, name: str) -> str:
        """Return the version that is installed."""
        done = run("rpm", "--query", "--queryformat", "%{VERSION}", name)
        return upstream(done.stdout) if done.returncode == 0 else ""

    def offered(self, name: str) -> str:
        """Return the newest version that an enabled repository has.

        :raises CommandError: if dnf cannot ask them.
        """
        done = run("dnf", "--quiet", "repoquery", "--latest-limit=1", "--queryformat", "%{version}\n", name)
        if done.returncode:
            raise CommandError(f"dnf cannot look for {name}", done)
        return upstream(done.stdout.strip())


class CommandError(Exception):
    """A program of the host's failed; the message ends in its last words."""

    def __init__(self, problem: str, done: subprocess.CompletedProcess[str]):
        words = (done.stderr or done.stdout).strip()[-500:]
        super().__init__(f"{problem}: {words}. Mend the host's package sources or its network, and run this again")


def upstream(version: str) -> str:
    """Return a package's version as its authors write it, the empty string for none: ``7.0.15`` of ``5:7.0.15-1``."""
    found = UPSTREAM.match(version)
    return found[1] if found else ""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program, in English, and return its end and its output."""
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"}, check=False)


def main() -> None:
    """Answer Ansible."""
    module = AnsibleModule({"names": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True)
    packages: Apt | Dnf = Apt() if module.get_bin_path("apt-cache") else Dnf()
    try:
        known = packages.know(may_fetch=not module.check_mode)
        names = module.params["names"]
        installed = {name: packages.installed(name) for name in names}
        offered = {name: packages.offered(name) if known else "" for name in names}
    except (CommandError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, known=known, installed=installed, offered=offered)


if __name__ == "__main__":
    main()
