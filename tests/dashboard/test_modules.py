"""The dashboard's own rules (ranges, addresses, changes, formats), run where they live: in the browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from analytics_server.query.language.comparisons import ComparisonMode, comparison_range
from analytics_server.query.language.time_range import TimeRange, resolve_pair
from analytics_server.query.warnings import DAILY_VISITORS, PARTIAL_COMPARISON, RUNNING
from analytics_server.rollups.backfill import WARNING
from tests.dashboard.conftest import dashboard_page
from tests.server import RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser, server: RunningServer) -> Any:
    async with dashboard_page(browser) as page:
        await page.goto(f"{server.url}/dashboard")
        yield page


async def call(page: Page, module: str, expression: str, *values: object) -> Any:
    """Evaluate an expression over a module `m` and values `v`."""
    script = """async ([name, expression, v]) => {
        const base = document.querySelector('script[type=module]').src;
        const m = await import(new URL(name, base));
        return m[expression](...v);
    }"""
    return await page.evaluate(script, [f"./{module}.js", expression, list(values)])


@pytest.mark.parametrize(
    ("range_", "zone", "before"),
    [
        (("2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"), "Europe/Berlin", ["2026-10-24", "2026-10-24"]),
        (("2026-03-29T00:00+01:00", "2026-04-05T00:00+02:00"), "Europe/Berlin", ["2026-03-22", "2026-03-28"]),
        (("2026-03-01T00:00+00:00", "2026-04-01T00:00+00:00"), "UTC", ["2026-02-01", "2026-02-28"]),
        (("2026-01-01T00:00-05:00", "2027-01-01T00:00-05:00"), "America/New_York", ["2025-01-01", "2025-12-31"]),
        (
            ("2026-10-05T13:00+00:00", "2026-10-06T13:00+00:00"),
            "UTC",
            ["2026-10-04T13:00:00.000Z", "2026-10-05T13:00:00.000Z"],
        ),
    ],
)
async def test_range_before_moves_by_what_the_range_is(
    page: Page, range_: tuple[str, str], zone: str, before: list[str]
) -> None:
    assert await call(page, "ranges", "rangeBefore", range_, zone) == before


@pytest.mark.parametrize(
    ("start", "answered"),
    [("2000-01-01", True), ("1999-12-31", False), ("1902-01-01", False), ("-000001-06-30", False)],
)
async def test_the_range_before_is_asked_for_only_where_the_server_answers(
    page: Page, start: str, answered: bool
) -> None:
    assert await call(page, "ranges", "isAnswered", [start, "2000-12-31"]) is answered


@pytest.mark.parametrize(
    ("range_", "valid"),
    [
        ("7d", True),
        ("yesterday", True),
        ("2026-10-01..2026-10-31", True),
        ("2026-10-01..2026-10-01", True),
        ("2026-10-31..2026-10-01", False),
        ("2026-02-30..2026-03-01", False),
        ("9d", False),
        ("", False),
        ("constructor", False),
    ],
)
async def test_only_known_or_real_ranges_are_taken_from_an_address(page: Page, range_: str, valid: bool) -> None:
    assert await call(page, "ranges", "isRange", range_) is valid


RANGES = (
    ("2026-10-05", "2026-10-12"),  # days
    ("2026-10-25", "2026-10-26"),
    ("2026-03-28", "2026-03-31"),
    ("2024-02-26", "2024-03-04"),
    ("2024-02-01", "2024-02-29"),
    ("2026-02-01", "2026-03-01"),  # months
    ("2026-10-01", "2026-11-01"),
    ("2026-01-01", "2027-01-01"),
    ("2025-07-01", "2026-01-01"),
    ("2026-10-05T13:00", "2026-10-06T13:00"),  # neither
    ("2026-10-05T13:00", "2026-10-15T02:30"),
    ("2026-03-30T00:30", "2026-03-30T01:00"),
)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("weekday", [False, True], ids=["", "same weekday"])
@pytest.mark.parametrize(("compare", "mode"), [("previous", "previous_period"), ("year", "previous_year")])
@pytest.mark.parametrize("days", RANGES, ids="..".join)
async def test_the_chart_compares_with_the_range_that_the_server_takes(
    page: Page, days: tuple[str, str], compare: str, mode: ComparisonMode, weekday: bool, zone: str
) -> None:
    info = ZoneInfo(zone)
    start, end = (datetime.fromisoformat(text).replace(tzinfo=info) for text in days)
    range_ = TimeRange(start.astimezone(UTC), end.astimezone(UTC), info)
    after = range_.end + timedelta(days=1)
    taken = comparison_range(range_, mode, now=after, match_day_of_week=weekday)
    view = {"compare": compare, "weekday": weekday, "range": "24h"}
    found = await call(page, "comparisons", "comparedRange", view, [start.isoformat(), end.isoformat()], zone)
    assert resolve_pair(tuple(found), info) == taken


async def test_days_of_ones_own_are_compared_as_they_stand(page: Page) -> None:
    view = {"compare": "2025-10-01..2025-10-04", "weekday": True, "range": "7d"}
    range_ = ["2026-10-05T00:00+00:00", "2026-10-12T00:00+00:00"]
    assert await call(page, "comparisons", "comparedRange", view, range_, "UTC") == ["2025-10-01", "2025-10-04"]
    assert await call(page, "comparisons", "comparisonQuery", view) == {"comparison": ["2025-10-01", "2025-10-04"]}


@pytest.mark.parametrize(
    ("view", "query"),
    [
        ({"compare": "previous", "weekday": False, "range": "7d"}, {"comparison": "previous_period"}),
        (
            {"compare": "year", "weekday": True, "range": "7d"},
            {"comparison": "previous_year", "match_day_of_week": True},
        ),
        ({"compare": "off", "weekday": True, "range": "7d"}, None),
        ({"compare": "previous", "weekday": True, "range": "all"}, None),
    ],
)
async def test_a_comparison_is_asked_for_as_it_was_chosen(page: Page, view: object, query: object) -> None:
    assert await call(page, "comparisons", "comparisonQuery", view) == query


@pytest.mark.parametrize(
    ("compare", "valid"),
    [
        ("previous", True),
        ("year", True),
        ("off", True),
        ("2026-10-01..2026-10-31", True),
        ("2026-10-31..2026-10-01", False),
        ("1999-10-01..2026-10-01", False),
        ("own", False),
        ("constructor", False),
        ("", False),
    ],
)
async def test_only_known_comparisons_are_taken_from_an_address(page: Page, compare: str, valid: bool) -> None:
    assert await call(page, "comparisons", "isComparison", compare) is valid


async def test_view_survives_its_address(page: Page) -> None:
    view = {
        "site": "a.example",
        "range": "2026-10-01..2026-10-31",
        "metric": "bounce_rate",
        "interval": "week",
        "compare": "2025-10-01..2025-10-31",
        "weekday": True,
        "filters": [["is", "event:page", ["/a,b?c=d&e"]], ["is_not", "visit:source", [""]]],
    }
    address = await call(page, "state", "writeState", view)
    assert await call(page, "state", "readState", address) == view


async def test_unreadable_address_becomes_the_default_view(page: Page) -> None:
    address = "?range=1x&compare=own&weekday=1"
    address += "&metric=money&interval=century&filter=drop,visit:source,a&filter=is,e%22vil,b&filter=is"
    view = await call(page, "state", "readState", address)
    assert view == {
        "site": "",
        "range": "7d",
        "metric": "visitors",
        "interval": "day",
        "compare": "previous",
        "weekday": False,
        "filters": [],
    }


@pytest.mark.parametrize(
    ("metric", "now", "before", "expected"),
    [
        ("visitors", 120, 100, {"text": "20%", "direction": "up", "trend": "good"}),
        ("visitors", 90, 100, {"text": "10%", "direction": "down", "trend": "bad"}),
        ("visitors", 1001, 1000, {"text": "0.1%", "direction": "up", "trend": "good"}),
        ("visitors", 5, 0, None),
        ("visitors", 0, 0, {"text": "0%", "direction": "flat", "trend": "flat"}),
        ("bounce_rate", 45, 40, {"text": "5 pts", "direction": "up", "trend": "bad"}),
        ("bounce_rate", 30, 40, {"text": "10 pts", "direction": "down", "trend": "good"}),
        ("session_duration", None, 40, None),
    ],
)
async def test_change_says_direction_and_whether_that_is_good(
    page: Page, metric: str, now: object, before: object, expected: object
) -> None:
    assert (
        await call(page, "metrics", "change", {"id": metric, "lowerIsBetter": metric == "bounce_rate"}, now, before)
        == expected
    )


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        ("duration", 0, "0s"),
        ("duration", 65, "1m 05s"),
        ("duration", 3_900, "1h 05m"),
        ("duration", None, "–"),
        ("axisDuration", 120, "2m"),
        ("axisDuration", 90, "1m 30s"),
        ("count", 1_234_567, "1,234,567"),
        ("percent", 41.6, "42%"),
        ("percent", 4.16, "4.2%"),
        ("countryName", "DE", "Germany"),
        ("countryName", "not a code", "not a code"),
    ],
)
async def test_values_read_as_people_write_them(page: Page, function: str, value: object, text: str) -> None:
    assert await call(page, "format", function, value) == text


@pytest.mark.parametrize(
    ("first", "last", "needed"),
    [
        ("2025-12-01", "2026-11-01", False),
        ("2025-11-01", "2026-11-01", True),
        ("2025-11-24", "2026-11-23", False),
        ("2024-12-30", "2026-01-05", True),
        ("2001-01-01", "2099-12-01", True),
        ("2026-11-23T00:00+00:00", "2026-11-23T23:00+00:00", False),
    ],
)
async def test_an_axis_names_years_where_its_dates_would_repeat(
    page: Page, first: str, last: str, needed: bool
) -> None:
    assert await call(page, "format", "needYears", [first, last]) is needed


@pytest.mark.parametrize(
    ("interval", "options", "text"),
    [
        ("month", {}, "Nov"),
        ("month", {"year": True}, "Nov 2026"),
        ("month", {"long": True}, "November 2026"),
        ("day", {}, "2 Nov"),
        ("day", {"year": True}, "2 Nov 2026"),
        ("week", {"long": True}, "Week of 2 Nov 2026"),
    ],
)
async def test_a_bucket_is_named_as_briefly_as_it_can_be(
    page: Page, interval: str, options: dict[str, bool], text: str
) -> None:
    assert await call(page, "format", "bucketName", "2026-11-02", interval, options) == text


async def test_chart_fills_gaps_stops_at_now_and_marks_the_running_day(page: Page) -> None:
    labels = ["2026-10-04", "2026-10-05", "2026-10-06", "2026-10-07"]
    answer = {"meta": {"time_labels": labels}, "results": [{"dimensions": ["2026-10-06"], "metrics": [3]}]}
    options = {"answer": answer, "previous": None, "metric": "visitors", "interval": "day", "today": "2026-10-06"}
    data = await call(page, "headline", "chartData", options)
    assert data["values"] == [0, 0, 3, None]
    assert data["running"] == 2


async def test_the_warnings_that_the_page_says_nowhere_else_are_told(page: Page) -> None:
    changed = "The definitions of the numbers changed on 2026-11-01 10:00: of before, …"
    warnings = [DAILY_VISITORS, RUNNING, PARTIAL_COMPARISON, changed, WARNING]
    assert await call(page, "headline", "told", warnings) == f"{changed} {WARNING}"
    assert await call(page, "headline", "told", []) == ""


@pytest.mark.parametrize(("threshold", "missing"), [(None, 0), (5, None)])
async def test_a_bucket_that_a_share_link_does_not_show_is_a_gap(
    page: Page, threshold: int | None, missing: int | None
) -> None:
    rest = [{"dimensions": [None], "metrics": [7], "below_threshold": True}] if threshold else []
    answer = {
        "results": [{"dimensions": ["2026-10-01"], "metrics": [9]}, *rest],
        "meta": {"time_labels": ["2026-10-01", "2026-10-02"], **({"threshold": threshold} if threshold else {})},
    }
    asked = {"answer": answer, "previous": answer, "metric": "visitors", "interval": "day", "today": "2026-11-01"}
    drawn = await call(page, "headline", "chartData", asked)

    assert drawn["values"] == drawn["previousValues"] == [9, missing]
