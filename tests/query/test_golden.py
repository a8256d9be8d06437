"""The SQL of typical questions, word for word; `UPDATE_GOLDEN=1` rewrites the files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from analytics_server.query.language.saved_filters import GoalBody
from analytics_server.query.plan.plan import make_plan
from analytics_server.query.sql.statement import ResultPage, compile_question
from analytics_server.store import Store
from tests.query.language.test_conditions import SavedInMemory
from tests.query.questions import question

GOLDEN = Path(__file__).parent / "golden"
UPDATE = os.environ.get("UPDATE_GOLDEN", "") not in ("", "0")

QUESTIONS: dict[str, dict[str, Any]] = {
    "headline": {
        "metrics": ["visitors", "sessions", "pageviews", "bounce_rate", "session_duration", "views_per_session"]
    },
    "chart_by_day": {"metrics": ["visitors", "pageviews"], "dimensions": ["time:day"]},
    "chart_by_hour_of_one_source": {
        "metrics": ["visitors"],
        "dimensions": ["time:hour"],
        "date_range": "day",
        "filters": [["is", "visit:source", ["Google"]]],
    },
    "chart_by_hour_where_clocks_change_within_one": {
        "metrics": ["pageviews", "sessions"],
        "dimensions": ["time:hour"],
        "date_range": ["2025-04-05", "2025-04-06"],
        "zone": "Pacific/Chatham",
    },
    "sources": {"metrics": ["visitors", "bounce_rate"], "dimensions": ["visit:source"]},
    "sources_utc": {"metrics": ["visitors"], "dimensions": ["visit:source"], "zone": "UTC"},
    "sources_by_month": {"metrics": ["pageviews"], "dimensions": ["time:month", "visit:source"]},
    "pages": {"metrics": ["visitors", "sessions", "bounce_rate"], "dimensions": ["event:page"]},
    "pages_by_day": {"metrics": ["sessions"], "dimensions": ["time:day", "event:page"]},
    "pages_of_buyers": {
        "metrics": ["visitors", "bounce_rate"],
        "dimensions": ["event:page"],
        "filters": [
            ["and", [["is", "event:name", ["purchase"]], ["is", "event:props:plan", ["pro"]]]],
            ["is_not", "visit:country", ["DE"]],
        ],
    },
    "sessions_that_clicked": {
        "metrics": ["sessions", "session_duration"],
        "filters": [["is", "event:name", ["click"]], ["matches_wildcard", "visit:entry_page", ["/blog/**"]]],
    },
    "headline_of_a_country": {
        "metrics": ["visitors", "pageviews", "sessions", "bounce_rate"],
        "filters": [["is", "visit:country", ["DE"]]],
    },
    "sessions_of_a_page_exactly": {
        "metrics": ["sessions"],
        "filters": [["is", "event:page", ["/blog/a"]]],
        "exact": True,
    },
    "properties": {"metrics": ["events"], "dimensions": ["event:props:plan", "experiment:cta"], "exact": True},
    "conversion_by_source": {
        "metrics": ["visitors", "conversion_rate", "group_conversion_rate"],
        "dimensions": ["visit:source"],
        "filters": [["goal", "Ordered"], ["is", "visit:country", ["DE"]]],
        "order_by": [["group_conversion_rate", "desc"]],
    },
    "conversion_of_a_plan": {
        "metrics": ["conversion_rate"],
        "filters": [["goal", "Ordered"], ["is", "event:props:plan", ["pro"]]],
    },
    "headline_of_a_page": {
        "metrics": ["visitors", "sessions", "bounce_rate"],
        "filters": [["is", "event:page", ["/blog/a"]]],
    },
    "exits_of_pages": {
        "metrics": ["exit_rate"],
        "dimensions": ["event:page"],
        "filters": [["is", "visit:country", ["DE"]]],
    },
    "exits_of_titles_by_day": {"metrics": ["pageviews", "exit_rate"], "dimensions": ["time:day", "event:title"]},
    "revenue_of_goals": {"metrics": ["total_revenue", "average_revenue"], "dimensions": ["event:goal"]},
    "goals_by_month": {
        "metrics": ["visitors", "group_conversion_rate", "percentage"],
        "dimensions": ["time:month", "event:goal"],
    },
    "pages_as_they_are_read": {
        "metrics": ["pageviews", "scroll_depth", "engagement_time"],
        "dimensions": ["event:page"],
    },
    "revenue_by_currency": {
        "metrics": ["total_revenue", "average_revenue", "percentage"],
        "dimensions": ["event:currency"],
    },
    "visitors_who_did_and_did_not": {
        "metrics": ["visitors", "sessions"],
        "filters": [
            ["has_done", ["and", [["is", "event:name", ["click"]], ["is", "visit:exit_page", ["/"]]]]],
            ["has_not_done", ["goal", "Ordered"]],
        ],
    },
    "countries_of_those_who_bought_after_reading": {
        "metrics": ["visitors", "sessions"],
        "dimensions": ["visit:country_name"],
        "filters": [
            ["sequence", [["contains", "event:page", ["blog"]], ["goal", "Ordered"]]],
            ["is_not", "visit:country_name", ["DE"]],
        ],
    },
    "three_steps_in_order": {
        "metrics": ["events"],
        "dimensions": ["event:scroll_depth"],
        "filters": [
            ["sequence", [["goal", "Read"], ["is", "visit:exit_page", ["/"]], ["gte", "event:scroll_depth", [75]]]],
            ["matches_wildcard_not", "event:props:plan", ["pro*"]],
        ],
        "order_by": [["event:scroll_depth", "desc"]],
        "exact": True,
    },
    "text_filters": {
        "metrics": ["events"],
        "filters": [
            [
                "or",
                [["contains", "event:page", ["a"]], ["contains_not", "event:page", ["B"], {"case_sensitive": False}]],
            ],
            ["not", ["matches", "event:title", ["^a", "b$"]]],
            ["is", "event:hostname", ["Example.com"], {"case_sensitive": False}],
        ],
    },
}


SAVED = SavedInMemory({"Ordered": GoalBody(event="purchase", currency="EUR"), "Read": GoalBody(page="/blog/*")})


def compiled(name: str) -> tuple[str, dict[str, object]]:
    asked, range_ = question(**QUESTIONS[name], library=SAVED)
    page = ResultPage(asked.limit, asked.offset, count_all=True)
    statement = compile_question(asked, make_plan(asked, range_), range_, page=page)
    return statement.sql, statement.parameters


@pytest.mark.parametrize("name", QUESTIONS)
def test_sql_is_as_recorded(name: str) -> None:
    sql, parameters = compiled(name)
    text = "".join(f"-- {key} = {value!r}\n" for key, value in parameters.items()) + sql + "\n"
    path = GOLDEN / f"{name}.sql"
    if UPDATE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), "run with UPDATE_GOLDEN=1 to record it"
    assert text == path.read_text(encoding="utf-8"), "look at the difference, then run with UPDATE_GOLDEN=1"


def test_every_golden_file_belongs_to_a_question() -> None:
    assert {path.stem for path in GOLDEN.glob("*.sql")} == set(QUESTIONS)


@pytest.mark.parametrize("name", QUESTIONS)
async def test_recorded_sql_runs(store: Store, name: str) -> None:
    sql, parameters = compiled(name)
    answer = await store.query(sql, parameters)
    fields = [*QUESTIONS[name].get("dimensions", ()), *QUESTIONS[name]["metrics"], "total_rows"]
    assert all(len(row) == len(fields) for row in answer.rows)


@pytest.mark.parametrize("name", QUESTIONS)
def test_values_never_stand_in_the_sql(name: str) -> None:
    sql, parameters = compiled(name)
    assert set(parameters) - set(re.findall(r"\{(\w+):", sql)) <= {"tz"}
    for value in ("Google", "purchase", "plan", "berlin.example", "Example"):
        assert value not in sql
