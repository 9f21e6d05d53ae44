"""Hooks of MkDocs for pages of the repository: it calls these functions by their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from typing import Any

    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[2]
BESIDE = {name: f"{name.partition('.')[0].lower()}.md" for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}
BESIDE["README.md"] = "index.md"
"""Pages in the repository's root, with their names on the site."""
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in ``docs``."""
    for name, page in BESIDE.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to pages of the site; replace a link to another file of the repository by its text."""
    folder = ROOT if page.file.src_uri in BESIDE.values() else ROOT / "docs"

    def replaced(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = (folder / target).resolve()
        if not target:
            return link[0]
        if path.parent == ROOT and path.name in BESIDE:
            return f"[{text}]({BESIDE[path.name]}{anchor})"
        if path.parent == ROOT / "docs":
            return f"[{text}]({path.name}{anchor})"
        return text if path.exists() else link[0]

    return LINK.sub(replaced, markdown)
