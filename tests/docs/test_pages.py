"""What pages say must be so: links lead somewhere, commands exist, nothing names a machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, pages, text_files

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# Written with brackets, so that this file does not contain what it looks for.
FORBIDDEN = re.compile(
    r"/wor[k]/|/far[m]/|/hom[e]/[a-z]|/User[s]/[a-z]|/roo[t]/|/tm[p]/v/"
    r"|https?://(?:pyp[i]\.org|files\.pythonhoste[d]\.org|registry\.npmj[s]\.org|repo1?\.mave[n]\.|deb\.debia[n]\.org)"
    r"|--(?:extra-)?index-ur[l][ =]|\"resolved\": *\"http"
)
UNFINISHED = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X])\b")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_resolve(page: Path) -> None:
    for target in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.exists(), f"{page.name} links to {target}, which does not exist"
        if fragment and goal.suffix == ".md":
            assert fragment in anchors(goal), f"{page.name} links to {target}, and there is no such heading"


def test_make_targets_named_in_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in pages():
        text = page.read_text(encoding="utf-8")
        code = [*re.findall(r"`([^`\n]+)`", text), *(body for _, body in FENCED.findall(text))]
        named = {name for part in code for name in re.findall(r"(?:^|\s)make ([a-z-]+)", part, re.MULTILINE)}
        assert named <= targets, f"{page.name} names make targets that don't exist: {sorted(named - targets)}"


def test_readme_gives_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = {
        line.strip() for language, body in FENCED.findall(readme) if language == "sh" for line in body.split("\n")
    }
    assert {"make run", "make test"} <= commands


def test_ci_runs_what_the_readme_tells() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for target in ("install", "check", "test"):
        assert re.search(rf"\bmake {target}\b", script), f".ci/run leaves out make {target}"


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in text_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert not found, "\n".join(found)


def test_no_file_is_marked_unfinished() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in text_files()
        if path.suffix in (".py", ".sql", ".js", ".css", ".html", ".md", ".toml", ".yaml")
        and UNFINISHED.search(path.read_text(encoding="utf-8"))
    ]
    assert not found, found
