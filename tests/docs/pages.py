"""The documentation as tests see it: the pages, the repository's files, the generated blocks.

A generated block stands between `<!-- generated: NAME -->` and `<!-- end: NAME -->` and
comes from the code or from config.example.toml, so that each sentence has one home.
`make golden` rewrites the blocks.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
REWRITE = os.environ.get("UPDATE_GOLDEN", "") not in ("", "0")
NOT_OURS = frozenset({"build", "data", "dist", "node_modules", "__pycache__", "results", "vendor"})
TEXT_SUFFIXES = frozenset(
    {"", ".css", ".html", ".in", ".js", ".json", ".md", ".py", ".service", ".sql", ".svg", ".toml", ".txt", ".yaml"}
)


def pages() -> list[Path]:
    """Every Markdown page, the ones at the top of the repository included."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def text_files() -> list[Path]:
    """The repository's own text files; no caches, builds or third-party code."""
    found = []
    for directory, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and (name[0] != "." or name == ".ci")]
        found += [Path(directory, name) for name in names if Path(name).suffix in TEXT_SUFFIXES]
    return sorted(path for path in found if path.name != ".git")


def all_documentation() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in pages())


def anchors(page: Path) -> set[str]:
    """The fragments that links may point at: headings as the usual renderers slug them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#{1,6} +(.+?) *$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }


def is_current(page: str, name: str, text: str) -> bool:
    """Does the block `name` of `docs/PAGE` hold this text? Rewrites it when asked to."""
    path = ROOT / "docs" / page
    before = path.read_text(encoding="utf-8")
    head, tail = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
    block = re.compile(f"{re.escape(head)}.*?{re.escape(tail)}", re.DOTALL)
    assert len(block.findall(before)) == 1, f"docs/{page} needs the block {head} … {tail} once"
    after = block.sub(lambda _: f"{head}\n{text}\n{tail}", before)
    if REWRITE and after != before:
        path.write_text(after, encoding="utf-8")
    return REWRITE or after == before
