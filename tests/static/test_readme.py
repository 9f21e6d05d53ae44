"""What the README and its companions name is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "src|tests|scripts|images|compose|examples|docs|systemd|roles|playbooks"
#: A path that starts with a folder of the repository, in code or as the text of a link.
PATH = re.compile(rf"(?<![\w./-])((?:{FOLDERS})/[\w./-]*[\w/])")


def named(path: Path) -> str:
    """Name a test after the file it reads."""
    return str(path.relative_to(ROOT))


def functions(folder: str) -> set[str]:
    """Return the names of all test functions below a folder."""
    return {
        node.name
        for path in (ROOT / folder).rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


def targets() -> set[str]:
    """Return the targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_every_promise_names_a_test_in_containers_or_on_hosts() -> None:
    """No row of the tables of promises is without a proof that a reader can find and run."""
    text = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    heads = ("| promise ", "| --- ")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(heads)]
    assert rows
    folders = ("tests/brokers", "tests/containers", "tests/hosts", "tests/install", "tests/releases", "tests/transport")
    there = set().union(*map(functions, folders))
    proofs = {row: re.findall(r"`(test_\w+)`", row) for row in rows}
    assert [row for row, names in proofs.items() if not names or not there.issuperset(names)] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    """A test that was renamed is renamed on the pages, too."""
    names = set(re.findall(r"\btest_[a-z0-9_]+\b(?!\.py)", page.read_text(encoding="utf-8")))
    assert names - functions("tests") == set()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_target_that_a_page_names_exists(page: Path) -> None:
    """Nobody types a `make` command from our pages that make does not know."""
    # In code only: "make" is a word of English as well.
    code = re.findall(r"```.*?```|`[^`]+`", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    used = {name for text in code for name in re.findall(r"(?:^|[`\s])make(?:\s+-C\s+\S+)?\s+([a-z-]+)", text)}
    assert used - targets() == set()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """Nobody looks for a file that has moved."""
    assert [
        path for path in PATH.findall(page.read_text(encoding="utf-8")) if not (ROOT / path.rstrip(".")).exists()
    ] == []


def test_the_readme_can_be_read_in_two_minutes() -> None:
    """Who decides whether to stay reads no more than 120 lines."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_readme_leads_to_every_page() -> None:
    """No page is known to its writer alone."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"(docs/{path.name}" not in text] == []


def test_the_readme_names_every_target_for_users() -> None:
    """Whoever reads only the README knows every command there is."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {name for name in targets() if f"make {name}" not in text} <= {"check", "dist"}
