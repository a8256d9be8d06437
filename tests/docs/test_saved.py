"""docs/saved.md names every key, bound and error of saved things, and its examples can be saved."""

from __future__ import annotations

import re

import msgspec
import pytest

from analytics_server.query.language.saved_filters import ABOUT_CHARS, TEXT_CHARS
from analytics_server.query.saved_kinds.annotations import ANNOTATION_CHARS, AnnotationRequest
from analytics_server.query.saved_kinds.goals import GoalRequest
from analytics_server.query.saved_kinds.queries import MAX_PRIVATE, SavedQueryRequest
from analytics_server.query.saved_kinds.segments import SegmentRequest
from analytics_server.saved.store import MAX_PER_SITE, NAME_CHARS, REFRESH_S
from tests.docs.pages import ROOT
from tests.whole import complete_server

PAGE = (ROOT / "docs" / "saved.md").read_text(encoding="utf-8")
ELSEWHERE = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("api.md", "query-api.md"))
"""Filters' errors, and those that can come from anywhere."""
PATHS = ("goals", "segments", "annotations", "queries")
OPERATIONS = [
    one for one in complete_server().endpoints() if one.path.startswith(tuple(f"/api/v1/{kind}" for kind in PATHS))
]


@pytest.mark.parametrize("kind", PATHS)
def test_names_every_address_and_key(kind: str) -> None:
    assert f"/api/v1/{kind}" in PAGE
    assert f"/api/v1/{kind}/{{id}}" in PAGE
    for one in OPERATIONS:
        if one.path.startswith(f"/api/v1/{kind}") and one.body is not None:
            for type_ in (*one.body.types, one.replies[0].type):
                for key in type_.__struct_fields__:
                    assert f"`{key}`" in PAGE, f"docs/saved.md leaves out {key} of {kind}"


def test_every_example_can_be_decoded() -> None:
    examples = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    requests = [GoalRequest, SegmentRequest, AnnotationRequest, SavedQueryRequest]
    for example, request in zip(examples, requests, strict=True):
        msgspec.json.decode(example, type=request)


def test_names_every_error() -> None:
    for operation in OPERATIONS:
        for codes in operation.all_errors().values():
            for code in codes:
                if not operation.name.endswith("_saved_query"):  # refused like the question it is
                    assert f"`{code}`" in PAGE + ELSEWHERE, f"docs/saved.md does not document {code}"


def test_names_the_bounds() -> None:
    for bound in (NAME_CHARS, MAX_PER_SITE, MAX_PRIVATE, ABOUT_CHARS, TEXT_CHARS, ANNOTATION_CHARS):
        assert f"{bound:,}" in PAGE
    assert REFRESH_S == 10
    assert "ten seconds" in PAGE
