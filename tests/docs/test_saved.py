"""docs/saved.md names every key, bound and error of saved things, and its examples can be saved."""

from __future__ import annotations

import re

import msgspec
import pytest

from analytics_server.access.saved import MAX_PER_SITE, NAME_CHARS, REFRESH_S
from analytics_server.query.language.saved_filters import ABOUT_CHARS, TEXT_CHARS
from analytics_server.saved.checks import SHELVES, Shelf
from analytics_server.saved.operations import operations
from analytics_server.saved.things import ANNOTATION_CHARS
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "saved.md").read_text(encoding="utf-8")
ELSEWHERE = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("api.md", "query-api.md"))
"""Filters' errors, and those that can come from anywhere."""


@pytest.mark.parametrize("shelf", SHELVES, ids=lambda shelf: shelf.plural)
def test_names_every_address_and_key(shelf: Shelf) -> None:
    assert f"/api/v1/{shelf.plural}" in PAGE
    assert f"/api/v1/{shelf.plural}/{{id}}" in PAGE
    for kind in (shelf.request, shelf.change, shelf.answer):
        for key in kind.__struct_fields__:
            assert f"`{key}`" in PAGE, f"docs/saved.md leaves out {key} of {shelf.plural}"


def test_every_example_can_be_decoded() -> None:
    examples = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == len(SHELVES)
    for example, shelf in zip(examples, SHELVES, strict=True):
        msgspec.json.decode(example, type=shelf.request)


def test_names_every_error() -> None:
    for operation in operations():
        for codes in operation.all_errors().values():
            for code in codes:
                if not operation.name.endswith("_saved_query"):  # refused like the question it is
                    assert f"`{code}`" in PAGE + ELSEWHERE, f"docs/saved.md does not document {code}"


def test_names_the_bounds() -> None:
    for bound in (NAME_CHARS, MAX_PER_SITE, ABOUT_CHARS, TEXT_CHARS, ANNOTATION_CHARS):
        assert f"{bound:,}" in PAGE
    assert REFRESH_S == 10
    assert "ten seconds" in PAGE
