"""docs/cohorts.md, docs/paths.md and docs/sessions.md name what can be asked, every error and every bound."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from analytics_server.analyses.cohorts import request as cohorts
from analytics_server.analyses.paths import request as paths
from analytics_server.analyses.sessions import request as sessions
from analytics_server.query.language.request import Pagination, decode_request
from analytics_server.query.language.saved_filters import SiteLibrary

ROOT = Path(__file__).parents[3]
PAGES = {part: (ROOT / "docs" / f"{part}.md").read_text(encoding="utf-8") for part in ("cohorts", "paths", "sessions")}
REQUESTS: dict[str, type[msgspec.Struct]] = {
    "cohorts": cohorts.CohortsRequest,
    "paths": paths.PathsRequest,
    "sessions": sessions.SessionsRequest,
}
ANSWERS = {
    "cohorts": (cohorts.CohortsAnswer, cohorts.Cohort, cohorts.CurvePoint, cohorts.CohortGroup),
    "paths": (paths.PathsAnswer, paths.PathNode, paths.PathLink),
    "sessions": (sessions.SessionsAnswer, sessions.SessionRow, sessions.Timeline, sessions.SessionEvent),
}
BOUNDS = {
    "cohorts": [cohorts.MAX_COHORTS, cohorts.MAX_CELLS, cohorts.MAX_PERIODS, cohorts.MAX_VALUES],
    "paths": [
        paths.MIN_STEPS,
        paths.MAX_STEPS,
        paths.DEFAULT_STEPS,
        paths.MAX_NODES,
        paths.DEFAULT_NODES,
        paths.TEXT_CHARS,
    ],
    "sessions": [sessions.USER_ID_CHARS, sessions.SESSION_ID_CHARS, sessions.DEFAULT_EVENTS],
}
SHARED = {"bad_request", "unknown_key"}
"""Errors that docs/query-api.md explains for all questions."""


@pytest.mark.parametrize("part", PAGES)
def test_the_first_example_is_a_valid_question(part: str) -> None:
    example = re.findall(r"```json\n(.*?)```", PAGES[part], re.DOTALL)[0]
    library = SiteLibrary(None, "example.com")
    asked = decode_request(example.encode(), REQUESTS[part])
    match asked:
        case cohorts.CohortsRequest():
            assert cohorts.check_cohorts(asked, library).breakdown is not None
        case paths.PathsRequest():
            assert paths.check_paths(asked, library).anchor == "/"
        case sessions.SessionsRequest():
            assert sessions.check_sessions(asked, library, max_rows=100).count_all


@pytest.mark.parametrize("part", PAGES)
def test_all_examples_are_json(part: str) -> None:
    for example in re.findall(r"```json\n(.*?)```", PAGES[part], re.DOTALL):
        assert isinstance(msgspec.json.decode(example), dict)


@pytest.mark.parametrize("part", PAGES)
def test_every_key_is_documented(part: str) -> None:
    keys = [name for name in REQUESTS[part].__struct_fields__ if name not in ("include", "pagination")]
    if part == "sessions":
        keys += [f"include.{name}" for name in sessions.SessionsInclude.__struct_fields__]
        keys += [f"pagination.{name}" for name in Pagination.__struct_fields__]
        keys += [*sessions.PARAMETERS, *sessions.ORDERS]
    for name in keys:
        assert f"`{name}`" in PAGES[part], f"docs/{part}.md does not document {name}"


@pytest.mark.parametrize("part", PAGES)
def test_every_part_of_the_answer_is_documented(part: str) -> None:
    for answer in ANSWERS[part]:
        for name in answer.__struct_fields__:
            assert re.search(rf"[`\"]{name}[`\"\[]", PAGES[part]), f"docs/{part}.md does not document {name}"


@pytest.mark.parametrize("part", PAGES)
def test_every_error_is_documented(part: str) -> None:
    folder = ROOT / "analytics_server" / "analyses" / part
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    query_page = (ROOT / "docs" / "query-api.md").read_text(encoding="utf-8")
    for code in set(re.findall(r'code="(\w+)"', source)):
        page = query_page if code in SHARED or code == "unsupported_dimension" else PAGES[part]
        assert f"`{code}`" in page, f"docs/{part}.md does not document the error {code}"


@pytest.mark.parametrize("part", PAGES)
def test_every_bound_is_documented(part: str) -> None:
    for bound in BOUNDS[part]:
        assert re.search(rf"(?<![\d,]){bound:,}(?!\d|,\d)", PAGES[part]), f"docs/{part}.md does not say {bound:,}"


def test_the_overview_links_the_pages() -> None:
    overview = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert all(f"({part}.md)" in overview for part in PAGES)
