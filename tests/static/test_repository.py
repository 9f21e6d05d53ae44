"""Promises that the repository's files keep among themselves."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from celerykit import __version__
from celerykit.config import legacy, option_names

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
VARIABLE = re.compile(r"\b(?:CELERY|FLOWER|CELERYKIT)_[A-Z][A-Z0-9_]*[A-Z0-9]\b(?![*_])")
#: Where one machine's or one person's files would be named; a build's cache is inside its image.
OWN_PATH = re.compile(r"(?<![\w.-])/(?:work|root(?!/\.cache)|Users|home/\w+)/")
LONGEST_SOURCE, LONGEST_CLASS = 300, 200


def tracked(*patterns: str) -> list[Path]:
    """Return the files of the repository, as far as they still exist; a link is read where it leads."""
    listed = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def named(path: Path) -> str:
    """Name a test after the file it reads."""
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return what a link can point to in a page of Markdown."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


class Compose(yaml.SafeLoader):
    """Reads compose files, whose ``!override`` says how a value is laid over others."""


Compose.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def services() -> dict[str, Any]:
    """Return every service of every compose file, by file and name."""
    found = {}
    for path in tracked("compose*.yaml", "compose/*.yaml", "compose/**/*.yaml"):
        for name, service in (Compose(path.read_text()).get_single_data().get("services") or {}).items():
            found[f"{named(path)}: {name}"] = service
    return found


@pytest.mark.parametrize("page", tracked("*.md"), ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """No reader of the docs is sent to a file or a section that is not there."""
    broken = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if "://" in name:
            continue
        file = (page.parent / name) if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_nothing_names_one_machine_s_paths() -> None:
    """What is written here works on other machines than its author's."""
    found = []
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        if path.name != "uv.lock" and path != Path(__file__):
            found += [f"{named(path)}:{number}" for number, line in enumerate(lines, 1) if OWN_PATH.search(line)]
    assert found == []


def test_what_leads_elsewhere_is_a_link() -> None:
    """A deployment reads what is linked, not the name of it in a file that was a link once."""
    short = [path for path in tracked() if 0 < path.stat().st_size < 256]
    told = {path: path.read_text(encoding="utf-8", errors="replace").strip() for path in short}
    assert [named(path) for path, text in told.items() if "/" in text and (path.parent / text).exists()] == []


def test_the_changelog_tells_of_this_version() -> None:
    """Who upgrades can read what has changed."""
    sections = re.findall(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert __version__ in sections


def test_ci_runs_what_everybody_can_run() -> None:
    """There is no check that only CI knows: `make test` is all of it."""
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec make test"]


@pytest.mark.parametrize("name", ["settings", "roles", "brokers", "releases", "promises"])
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    """No default or reason in it is out of date; scripts/NAME_doc.py --write renews it."""
    generator = runpy.run_path(str(ROOT / "scripts" / f"{name}_doc.py"))
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == generator["page"]()


def test_each_role_has_a_page_of_its_own_that_is_up_to_date() -> None:
    """Who opens a role's folder finds its variables and a play to begin with. ``roles_doc.py --write`` renews it."""
    for file, text in runpy.run_path(str(ROOT / "scripts" / "roles_doc.py"))["readmes"]().items():
        assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("role", ["celery", "certificate", "postgresql", "rabbitmq", "redis"])
def test_the_example_of_a_role_sets_variables_that_it_has(role: str) -> None:
    """A play that somebody copies sets what the role requires, and nothing that it does not know."""
    (play,) = yaml.safe_load((ROOT / "playbooks" / "examples" / f"{role}.yml").read_text(encoding="utf-8"))
    specification = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    options = specification["argument_specs"]["main"]["options"]
    (entry,) = play["roles"]
    assert entry["role"] == role
    assert set(entry["vars"]) <= set(options)
    assert {name for name, option in options.items() if option.get("required")} <= set(entry["vars"])


@pytest.mark.parametrize("name", ["bench", "faults", "real"])
def test_a_page_of_results_is_what_its_record_says(name: str) -> None:
    """No figure in it is typed; python -m tests.NAME.page --write renews it from the record."""
    results = import_module(f"tests.{name}.page")
    assert results.PAGE.read_text(encoding="utf-8") == results.page()


def test_the_readme_has_the_record_s_faults() -> None:
    """What the README says was lost is what `make faults` counted; python -m tests.faults.page --write renews it."""
    faults = import_module("tests.faults.page")
    assert faults.README.read_text(encoding="utf-8") == faults.readme()


def test_the_plots_of_the_benchmark_are_what_its_record_says() -> None:
    """No picture shows other figures than the table below it, and none is left of a cell that is gone."""
    shown = import_module("tests.bench.sizes_page").plots()
    assert {path: path.read_text(encoding="utf-8") for path in ROOT.glob("docs/sizes/*.svg")} == shown


def test_every_variable_in_the_docs_exists() -> None:
    """Nobody copies an option that Celery ignores in silence from our pages or compose files."""
    patterns = ("README.md", "CONTRIBUTING.md", "docs/*.md", "compose*.yaml", "compose/*.yaml", "examples/**/*.md")
    elsewhere = "\n".join(
        path.read_text(encoding="utf-8") for path in tracked("compose", "compose.yaml", "scripts", "images")
    )
    unknown = []
    for path in tracked(*patterns):
        for name in VARIABLE.findall(path.read_text(encoding="utf-8")):
            known = option_names.is_known(name) or option_names.is_known(name.removesuffix("_FILE"))
            # The stack's own variables, such as its ports, are read by compose files, images and scripts.
            of_the_stack = name.startswith("CELERYKIT_") and re.search(rf"\b{name}\b", elsewhere)
            if not known and not of_the_stack and name not in legacy.MEANINGLESS:
                unknown.append(f"{named(path)}: {name}")
    assert unknown == []


def sources() -> dict[str, str]:
    """Return the text of each source of Python that a deployment runs, by its name."""
    files = tracked("src/**/*.py", "src/celerykit/*.py", "plugins/**/*.py", "roles/**/*.py", "scripts/*.py")
    return {named(path): path.read_text(encoding="utf-8") for path in files}


def test_no_source_is_too_long_to_hold_in_mind() -> None:
    """A file has at most 300 lines. Those that have more are known; one that was split leaves the list."""
    assert {name for name, text in sources().items() if text.count("\n") > LONGEST_SOURCE} == {
        "plugins/modules/celery_files.py",
        "plugins/modules/celery_units.py",
    }


def test_no_class_is_too_long_to_hold_in_mind() -> None:
    """A class has at most 200 lines: one that has more does several things."""
    long = [
        f"{name}: {node.name} has {lines} lines"
        for name, text in sources().items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef) and (lines := node.end_lineno - node.lineno + 1) > LONGEST_CLASS
    ]
    assert long == []


def test_no_docstring_means_the_one_above_it() -> None:
    """A reader who hovers over a name, or meets a line that was moved, sees nothing else."""
    sources = tracked("src/**/*.py", "plugins/**/*.py", "roles/**/*.py", "scripts/*.py", "tests/rig/*.py")
    leaning = re.compile(r'"""(?:The|Do the) same\b.*')
    told = {named(path): leaning.findall(path.read_text(encoding="utf-8")) for path in sources if path.is_file()}
    assert {name: lines for name, lines in told.items() if lines} == {}


def test_no_test_imports_another() -> None:
    """What several tests share is in the rig, so that a test can be moved, or go, by itself."""
    shared = re.compile(r"^from tests\.[\w.]*test_\w+ import .*", re.MULTILINE)
    told = {path: shared.findall(path.read_text(encoding="utf-8")) for path in tracked("tests/**/*.py")}
    assert {named(path): lines for path, lines in told.items() if lines and "static" not in path.parts} == {}


def test_every_test_says_what_it_promises() -> None:
    """A failing test tells a reader in words what a user would lose."""
    silent = []
    for path in tracked("tests/**/test_*.py", "tests/test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node):
                silent.append(f"{named(path)}:{node.lineno} {node.name}")
    assert silent == []


def test_nothing_is_published_beyond_this_machine() -> None:
    """A stack that is started as it is opens no port to the network."""
    ports = {name: service["ports"] for name, service in services().items() if service.get("ports")}
    assert ports
    assert {
        name: given for name, given in ports.items() if not all(str(port).startswith("127.0.0.1:") for port in given)
    } == {}


def test_every_service_can_be_scaled_and_run_twice() -> None:
    """A fixed container name would forbid a second worker, and a second stack on the machine."""
    assert services()
    assert [name for name, service in services().items() if "container_name" in service] == []


def test_there_is_one_start_command() -> None:
    """Workers, beat and Flower start by `celerykit` everywhere, so that none of them misses what it does."""
    start = re.compile(r"\bcelery\b(?!/)[^#\n]*\b(worker|beat|flower)\b|\b(celery|flower)d?\b.*\bmulti\b")
    lines = [
        f"{named(path)}:{number} {line.strip()}"
        for path in tracked("images", "compose", "compose.yaml", "systemd", "init.d", "supervisor")
        if not path.name.endswith((".txt", ".in", ".md"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\b(ENTRYPOINT|CMD|command:|ExecStart|command\s*=|exec )", line)
        and start.search(re.sub(r"\bcelerykit\b", "", line))
    ]
    assert lines == []
    entries = [
        line
        for path in tracked("images/*Dockerfile*")
        for line in path.read_text().splitlines()
        if "ENTRYPOINT" in line
    ]
    assert any(line.endswith(' "celerykit"]') for line in entries), entries
