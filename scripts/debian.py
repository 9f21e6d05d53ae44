"""The base of all images, debian:SUITE-slim: pulled from a registry, else made from Debian's archive."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import record
from console import SetupError, output_of, run, say, step

SUITE = "trixie"
"""The release of Debian in the kit's own images."""
SUITES = ("trixie", "bookworm")
IMAGE = f"debian:{SUITE}-slim"
TOOLS = Path(".cache/debootstrap")
ROOT = Path(".cache/debian-root")
KEYRING = Path("usr/share/keyrings/debian-archive-keyring.gpg")
ARCHIVE = "https://deb.debian.org/debian"
"""Debian's public archive, used only on hosts without debootstrap and without apt."""

EMPTIED = ("usr/share/groff", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man")
FILES = {
    # Later packages leave these folders out, too, as in Debian's own -slim images.
    "etc/dpkg/dpkg.cfg.d/docker": "".join(f"path-exclude /{folder}/*\n" for folder in (*EMPTIED, "usr/share/doc"))
    + "path-include /usr/share/doc/*/copyright\n",
    "etc/apt/apt.conf.d/docker": 'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n'
    'Binary::apt-get::APT::Keep-Downloaded-Packages "false";\n',
}
NO_SERVICES = "#!/bin/sh\n# Nothing is started while an image is built.\nexit 101\n"


def image(suite: str) -> str:
    """Return the name of a release's base image."""
    return IMAGE.replace(SUITE, suite)


def ensure_image(suite: str = SUITE) -> None:
    """Pull or make the base image of a release, if it is missing.

    :raises SetupError: if it can neither be pulled nor made.
    """
    name = image(suite)
    if output_of("docker", "image", "inspect", "--format", "{{.Id}}", name):
        return
    with step(f"base image {name}"):
        if output_of("docker", "pull", "--quiet", name) is None:
            say(f"           no image registry has it for us: making {name} from Debian's archive, about a minute")
            _bootstrap(suite)
            record.add(record.BASE_IMAGE, output_of("docker", "image", "inspect", "--format", "{{.Id}}", name) or "")


def _bootstrap(suite: str) -> None:
    root = _root_command()
    environment = dict(os.environ)
    if tool := shutil.which("debootstrap"):
        command = [tool]
    else:
        _fetch("debootstrap")
        command = ["sh", str(TOOLS / "usr/sbin/debootstrap")]
        environment["DEBOOTSTRAP_DIR"] = str((TOOLS / "usr/share/debootstrap").resolve())
    if not Path("/", KEYRING).exists():
        _fetch("debian-archive-keyring")
        command += ["--keyring", str(TOOLS / KEYRING)]
    subprocess.run([*root, "rm", "-rf", "--one-file-system", str(ROOT)], check=True)
    ROOT.parent.mkdir(exist_ok=True)
    variables = [f"{name}={value}" for name, value in environment.items() if name == "DEBOOTSTRAP_DIR"]
    run(
        "debootstrap",
        [*root, "env", *variables, *command, "--variant=minbase", suite, str(ROOT)],
        "Look at its last lines above: mostly the network, or a folder on a file system that allows no devices",
    )
    # The rest also needs root: this module runs itself.
    subprocess.run([*root, sys.executable, str(Path(__file__).resolve()), str(ROOT), suite], check=True)
    _import(root, suite)
    subprocess.run([*root, "rm", "-rf", "--one-file-system", str(ROOT)], check=True)


def trim(root: Path, suite: str) -> None:
    """Make a fresh Debian as small as its -slim image, with the archive's updates among its sources."""
    for folder in (*EMPTIED, "var/cache/apt", "var/lib/apt/lists", "var/log/apt"):
        shutil.rmtree(root / folder, ignore_errors=True)
    for path in (root / "usr/share/doc").rglob("*"):
        if path.is_file() and path.name != "copyright":
            path.unlink()
    for folder in ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial"):
        (root / folder).mkdir(parents=True)
    for log in (root / "var/log").glob("*.log"):
        log.unlink()
    for name, text in FILES.items():
        (root / name).write_text(text, encoding="utf-8")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(NO_SERVICES, encoding="utf-8")
    policy.chmod(0o755)
    for name in ("etc/hostname", "etc/resolv.conf"):
        (root / name).unlink(missing_ok=True)
    _write_sources(root / "etc/apt", suite)


def _write_sources(folder: Path, suite: str) -> None:
    """Add updates and security updates to the sources, from the mirror of the installation."""
    sources = folder / "sources.list"
    mirror = sources.read_text(encoding="utf-8").split()[1].rstrip("/")
    sources.unlink()
    signed = f"Components: main\nSigned-By: /{KEYRING}\n"
    (folder / "sources.list.d/debian.sources").write_text(
        f"Types: deb\nURIs: {mirror}\nSuites: {suite} {suite}-updates\n{signed}\n"
        f"Types: deb\nURIs: {mirror}-security\nSuites: {suite}-security\n{signed}",
        encoding="utf-8",
    )


def _import(root: list[str], suite: str) -> None:
    pack = [*root, "tar", "--create", "--numeric-owner", "--one-file-system", "--directory", str(ROOT), "."]
    take = ["docker", "import", "--change", 'CMD ["bash"]', "-", image(suite)]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        done = subprocess.run(take, stdin=packing.stdout, capture_output=True, text=True, check=False)
    if done.returncode or packing.returncode:
        raise SetupError(f"'docker import' failed: {done.stderr.strip()}", "Mostly the disk is full: docker system df")


def _root_command() -> list[str]:
    """Return the prefix that runs a command as root: nothing, or sudo."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and (sys.stdin.isatty() or output_of("sudo", "--non-interactive", "true") is not None):
        return ["sudo"]
    raise SetupError(
        "making the base image needs root, and there is no sudo that would give it",
        f"Run once as root in this folder: python3 scripts base-image; or 'docker pull {IMAGE}' where a registry is",
    )


def _fetch(package: str) -> None:
    """Unpack one of Debian's packages under ``.cache``, without installing it."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    if shutil.which("apt-get"):
        # apt writes into the working directory. The usual failure is a missing index.
        done = subprocess.run(
            ["apt-get", "download", "--quiet", package], cwd=TOOLS, capture_output=True, text=True, check=False
        )
        files = sorted(TOOLS.glob(f"{package}_*.deb"))
        if done.returncode == 0 and files:
            _unpack(files[-1].read_bytes())
            return
    _unpack(_download(package))


def _download(package: str) -> bytes:
    folder = f"{ARCHIVE}/pool/main/{package[0]}/{package}/"
    try:
        with urllib.request.urlopen(folder, timeout=60) as page:  # noqa: S310  # a fixed https address
            names = re.findall(rf'href="({package}_[^"]+_all\.deb)"', page.read().decode())
        with urllib.request.urlopen(folder + max(names), timeout=60) as file:  # noqa: S310
            return bytes(file.read())
    except (urllib.error.URLError, ValueError) as exc:
        raise SetupError(
            f"neither an image registry nor Debian's archive answers ({exc})",
            f"Check the network, or install debootstrap; or load an image: docker load, then tag it {IMAGE}",
        ) from exc


def _unpack(package: bytes) -> None:
    """Unpack the files of a .deb: an ar archive with a tar archive in it."""
    position = 8
    while position < len(package):
        name = package[position : position + 16].decode().strip().rstrip("/")
        size = int(package[position + 48 : position + 58])
        body = package[position + 60 : position + 60 + size]
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                # By attribute: older releases of Python ignore it, but refuse an argument.
                archive.extraction_filter = getattr(tarfile, "tar_filter", lambda member, _: member)
                archive.extractall(TOOLS)  # noqa: S202  # checked by apt, or from Debian by https
            return
        position += 60 + size + size % 2
    raise SetupError("a package of Debian's archive could not be unpacked", "Install debootstrap, then try again")


if __name__ == "__main__":
    trim(Path(sys.argv[1]), sys.argv[2])
