"""Each module that the documentation names is there, under that name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PAGES = sorted(path for place in (ROOT, ROOT / "docs") for path in place.glob("*.md") if path.name != "CHANGELOG.md")
_MODULE = re.compile(r"`([\w/]+\.py)`")


@pytest.fixture(scope="module")
def modules() -> str:
    """All modules of the repository, each after a line break and a slash."""
    places = (ROOT / name for name in ("analytics_server", "benchmarks", "tests"))
    return "".join(f"\n/{path.relative_to(ROOT)}" for place in places for path in place.rglob("*.py")) + "\n"


def test_pages_name_modules() -> None:
    assert any(_MODULE.search(page.read_text(encoding="utf-8")) for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_module_is_named_as_it_is_called(page: Path, modules: str) -> None:
    named = set(_MODULE.findall(page.read_text(encoding="utf-8")))
    assert not [name for name in sorted(named) if f"/{name}\n" not in modules]
