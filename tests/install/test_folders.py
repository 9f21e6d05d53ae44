"""Folders as people have them: each is installed as its own tool would, or refused with the remedy."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from celerykit.app.errors import CONTAINER, AppError
from tests.install.parts import BUILD, closed_index, project, wheel, write

if TYPE_CHECKING:
    from tests.install.conftest import Installer

SOURCE = project("acmelib", at="acmelib-src/")
KINDS: dict[str, tuple[dict[str, str], set[str]]] = {
    "requirements": ({"requirements.txt": "other\n"}, {"other"}),
    "requirements that include others": (
        {
            "requirements.txt": "-r needs/production.txt\n",
            "needs/production.txt": "-r base.txt\n",
            "needs/base.txt": "other\n",
        },
        {"other"},
    ),
    "requirements as a template for Django has them, and settings of tools": (
        {
            "requirements/production.txt": "-r base.txt\n",
            "requirements/base.txt": "other\n",
            "pyproject.toml": "[tool.ruff]\nline-length = 119\n",
        },
        {"other"},
    ),
    "a project": (project("shopkit", project='dependencies = ["other"]\n'), {"other", "shopkit"}),
    "a project that is no package": (
        {"pyproject.toml": '[project]\nname = "shopkit"\nversion = "1"\ndependencies = ["other"]\n'},
        {"other"},
    ),
    "a project whose requirements are another file's": (
        {
            **project("shopkit"),
            "pyproject.toml": f'[project]\nname = "shopkit"\ndynamic = ["dependencies"]\nversion = "1.4"\n{BUILD}',
            "needs.txt": "other\n",
        },
        {"other", "shopkit"},
    ),
    "a source folder": ({**SOURCE, "requirements.txt": "./acmelib-src\n"}, {"acmelib"}),
    "a source folder that may be edited": (
        {**SOURCE, "requirements.txt": "other\n-e ./acmelib-src\n"},
        {"acmelib", "other"},
    ),
    "nothing": ({"pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-q'\n"}, set()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_installed_as_its_tool_would(installer: Installer, kind: str) -> None:
    """All that it asks for can be imported, and itself where it is a package; a second run does nothing."""
    files, gets = KINDS[kind]
    folder = installer.app(files)
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    installer.install()
    assert set(installer.versions()) == gets
    for name in gets:
        installer.asks(f"import {name}; print({name}.VALUE)")
    assert not (folder / "written-by-the-build").exists()
    before = sorted(os.listdir(installer.root))
    assert installer.install().endswith("is current already\n")
    assert sorted(os.listdir(installer.root)) == before


def test_a_package_knows_its_own_version(installer: Installer) -> None:
    """As most templates have it: the version is read from the metadata of what is installed."""
    module = "from importlib.metadata import version\nVALUE = version('shopkit')\n"
    installer.app(project("shopkit", project='dependencies = ["other"]\n', module=module))
    installer.install()
    assert installer.asks("import shopkit; print(shopkit.VALUE)") == "1.4"


@pytest.mark.parametrize(
    ("files", "problem", "remedy"),
    [
        ({"Pipfile": '[packages]\nother = "*"\n'}, "Pipfile has no Pipfile.lock", "pipenv lock"),
        ({"pdm.lock": "", "pyproject.toml": "[project]\n"}, "pdm.lock", "pdm export --prod --output requirements.txt"),
        ({"requirements/dev.txt": "other\n"}, "requirements/dev.txt", "Write a requirements.txt"),
        ({"environment.yml": "name: x\n"}, "environment.yml: conda is not here", "requirements.txt"),
        ({"apt.txt": "no-such-library\n"}, "apt.txt: not installed here: no-such-library", "CELERYKIT_APT"),
        (
            {"pyproject.toml": '[project]\nname = "shopkit"\nversion = "1"\nrequires-python = "<3.10"\n'},
            "the app wants another Python: `<3.10` (from `project.requires-python`)",
            "CELERYKIT_BASE",
        ),
        ({"requirements.txt": "nowhere-to-be-had\n"}, "nowhere-to-be-had was not found", "PIP_EXTRA_INDEX_URL"),
    ],
)
def test_what_cannot_be_installed_is_refused_with_the_remedy(
    installer: Installer, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], problem: str, remedy: str
) -> None:
    """Nothing is skipped, and no release is left."""
    monkeypatch.setattr("celerykit.app.system._is_installed", lambda name: not name.startswith("no-such"))
    installer.app(files)
    with pytest.raises(AppError) as refused:
        installer.install()
    assert problem in str(refused.value) and remedy in refused.value.describe(CONTAINER)
    assert not installer.current.exists()


def test_what_is_left_out_is_said(installer: Installer) -> None:
    """A link to nothing, a socket, a pipe and a link in a circle stop nobody, and are named."""
    folder = installer.app({"requirements.txt": "other\n", "empty/kept.txt": ""})
    (folder / ".#shop.py").symlink_to("user@laptop.1234:1700000000")
    (folder / "circle").symlink_to(".")
    (folder / "linked").symlink_to("empty")
    os.mkfifo(folder / "tasks.fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(folder)
        listener.bind("gunicorn.sock")
        os.chdir(here)
    said = installer.install()
    for name in (".#shop.py: a link to what", "circle: a link", "tasks.fifo: a pipe", "gunicorn.sock: a socket"):
        assert f"left out: {name}" in said
    assert (installer.current / "linked" / "kept.txt").exists()


def test_a_secret_that_nobody_else_may_read_is_left_out_and_named(
    installer: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app's .env of mode 600 stays where it is; anything else that cannot be read is refused."""
    folder = installer.app({"requirements.txt": "other\n", ".env": "SECRET_KEY=x\n"})
    may, closed = os.access, {str(folder / ".env")}
    monkeypatch.setattr("os.access", lambda path, mode: str(path) not in closed and may(path, mode))
    assert "left out: .env: only its owner may read it" in installer.install()
    assert not (installer.current / ".env").exists()
    closed.add(str(folder / "shop.py"))
    with pytest.raises(AppError, match=r"cannot read shop.py of the app's folder.*chmod -R go\+rX"):
        installer.install()


def test_a_change_of_an_included_file_is_a_change(installer: Installer) -> None:
    """What is installed is never that of an older file; code alone has nothing installed."""
    files = {"requirements.txt": "-r needs/base.txt\n", "needs/base.txt": "other==1.0\n"}
    installer.app(files)
    installer.install()
    installer.app({**files, "needs/base.txt": "other==2.0\n"})
    installer.install()
    assert installer.versions() == {"other": "2.0"}
    installer.app({**files, "needs/base.txt": "other==2.0\n", "shop.py": "changed = True\n"})
    assert "Installed" not in installer.install()


def test_a_change_of_code_changes_no_version(installer: Installer) -> None:
    """A package is installed anew, beside the versions of before, whatever the index has by now."""
    files = project("shopkit", project='dependencies = ["other"]\n')
    installer.app(files)
    installer.install()
    wheel(installer.wheels, "other", "3.0")
    installer.app({**files, "src/shopkit/__init__.py": "VALUE = 2\n"})
    installer.install()
    assert installer.asks("import shopkit; print(shopkit.VALUE)") == "2"
    assert installer.versions()["other"] == "2.0"


def test_wheels_beside_the_app_are_installed(installer: Installer) -> None:
    """As the only requirement, by a folder of them, and anew where one was built again under its name."""
    folder = installer.app({"requirements.txt": "./wheels/acmelib-1.0-py3-none-any.whl\n"})
    wheel(folder / "wheels", "acmelib", "1.0", code="VALUE = 'first'\n")
    installer.install()
    assert installer.asks("import acmelib; print(acmelib.VALUE)") == "first"
    wheel(folder / "wheels", "acmelib", "1.0", code="VALUE = 'second'\n")
    installer.install()
    assert installer.asks("import acmelib; print(acmelib.VALUE)") == "second"
    installer.app({"requirements.txt": "--find-links wheels\nacmelib==1.0\n"})
    wheel(folder / "wheels", "acmelib", "1.0", code="VALUE = 'third'\n")
    installer.install()
    assert installer.asks("import acmelib; print(acmelib.VALUE)") == "third"


def test_a_locked_workspace_is_installed_as_locked(installer: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members are installed, too, none of them for editing; a lock that is stale is refused."""
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.delenv("UV_FIND_LINKS")
    told = (
        '[project]\nname = "shopkit"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["acmelib"]\n'
        '[tool.uv.sources]\nacmelib = { workspace = true }\n[tool.uv.workspace]\nmembers = ["packages/*"]\n'
    )
    member = project("acmelib", project='requires-python = ">=3.10"\n', at="packages/acmelib/")
    folder = installer.app({**member, "pyproject.toml": told})
    subprocess.run(["uv", "lock", "--quiet", "--offline"], cwd=folder, check=True)
    installer.install()
    assert installer.asks("import acmelib; print(acmelib.__file__)").startswith(str(installer.root.resolve()))
    (folder / "pyproject.toml").write_text(told.replace('["acmelib"]', '["acmelib", "celery"]'))
    monkeypatch.setenv("UV_FIND_LINKS", str(installer.wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    with pytest.raises(AppError, match=r"lockfile .* needs to be updated"):
        installer.install()


@pytest.mark.skipif(not shutil.which("git"), reason="no git")
def test_a_repository_is_a_requirement(installer: Installer) -> None:
    """At the version that the app names."""
    repository = write(installer.folder / "acme", project("acmelib"))
    who = {f"GIT_{who}_{what}": "x@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for command in ("init -q -b main", "add .", "commit -q -m 1", "tag v1.0"):
        subprocess.run(["git", *command.split()], cwd=repository, env={**os.environ, **who}, check=True)
    installer.app({"requirements.txt": f"acmelib @ git+file://{repository}@v1.0\n"})
    installer.install()
    assert installer.asks("import acmelib; print(acmelib.VALUE)") == "1"


def test_programs_of_the_app_s_packages_are_on_the_path(installer: Installer) -> None:
    """A job may call them by name, wherever it is then; they find what they need."""
    installer.app({"requirements.txt": "useful==2.0\n"})
    installer.install()
    code = (
        "import subprocess; import celerykit.app.path; print(subprocess.check_output(['usefully'], cwd='/', text=True))"
    )
    assert installer.asks(code) == "2.0"


def test_a_login_for_an_index_serves_and_stays_nowhere(installer: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of a closed index is installed; the login is not in the release, in its packages or in the log."""
    monkeypatch.delenv("UV_OFFLINE")
    wheel(installer.folder / "closed" / "acmelib", "acmelib", "1.0")
    with closed_index(installer.folder / "closed", "ci", "s3cret") as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{address}/none/")
        installer.app(
            {"requirements.txt": f"--extra-index-url http://ci:s3cret@{address}/\nacmelib==1.0\nother==1.0\n"}
        )
        said = installer.install()
        installer.app({"requirements.txt": f"--extra-index-url http://{address}/\nacmelib==1.0\n"})
        with pytest.raises(AppError) as refused:
            installer.install()
    assert installer.versions() == {"acmelib": "1.0", "other": "1.0"}
    found = subprocess.run(["grep", "-rl", "s3cret", installer.root], capture_output=True, text=True, check=False)
    assert found.stdout == "" and "s3cret" not in said
    assert "CELERYKIT_NETRC" in refused.value.describe(CONTAINER)
