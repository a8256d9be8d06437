"""A comparison by time has a row for every bucket of either range, in every order and on every page."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from analytics_server.config import LimitsSection
from analytics_server.errors import RequestError
from analytics_server.model import Site
from analytics_server.query.answer import Answer, ResultRow
from analytics_server.query.compared_rows import MAX_FOUND_ROWS, MAX_PASSED_ROWS, Key, Values, compared_page
from analytics_server.query.engine import QueryService
from analytics_server.query.language.buckets import Bucket
from analytics_server.query.warnings import PAIR_STANDS, PARTIAL_COMPARISON, RUNNING
from analytics_server.store import Store
from tests.query.conftest import Directory, insert_events
from tests.query.oracle import Oracle
from tests.query.plan.test_coverage import fresh
from tests.query.questions import NOW, body, question
from tests.query.test_buckets import page_view
from tests.query.time_oracle import Row, Span, compared, first_instant, labels
from tests.query.world import CENTRES, SITES

SITE = "berlin.example"
BERLIN = ZoneInfo("Europe/Berlin")
WEEK = {"metrics": ["pageviews"], "date_range": ["2026-11-07", "2026-11-13"], "dimensions": ["time:day"]}


async def ask(service: QueryService, **parts: Any) -> Answer:
    return await service.run(body(**parts))


def flat(row: ResultRow) -> tuple[Any, ...]:
    """Dimensions and values of both sides, and the changes."""
    assert row.comparison is not UNSET
    comparison = row.comparison
    return (*row.dimensions, *row.metrics, *comparison.dimensions, *comparison.metrics, *comparison.change)


@pytest.fixture(scope="module")
def few(store: Store) -> Iterator[QueryService]:
    """Page views on 1 (two), 6, 7 and 8 November; two from Google."""
    days = {"2026-11-01T10:00": "", "2026-11-01T23:59": "Google", "2026-11-06T00:00": "", "2026-11-07T12:00": "Google"}
    days["2026-11-08T12:00"] = ""
    events = [
        page_view(SITE, datetime.fromisoformat(text).replace(tzinfo=BERLIN), f"s{number}", source=source)
        for number, (text, source) in enumerate(days.items())
    ]

    async def prepare() -> Store:
        own = await fresh(store)
        await insert_events(own, events, seed=1)
        return own

    own = asyncio.run(prepare())
    directory = Directory({SITE: Site(site_id=SITE, timezone="Europe/Berlin")})
    yield QueryService(own, directory, lambda: datetime(2026, 11, 29, 12, tzinfo=UTC), LimitsSection())
    asyncio.run(own.close())


async def test_every_bucket_of_either_range_has_its_row(few: QueryService) -> None:
    answer = await ask(few, **WEEK, include={"comparison": "previous_period", "total_rows": True})
    assert [flat(row) for row in answer.results] == [
        ("2026-11-07", 1, "2026-10-31", 0, 100.0),
        ("2026-11-08", 1, "2026-11-01", 2, -50.0),
        ("2026-11-09", 0, "2026-11-02", 0, 0.0),
        ("2026-11-10", 0, "2026-11-03", 0, 0.0),
        ("2026-11-11", 0, "2026-11-04", 0, 0.0),
        ("2026-11-12", 0, "2026-11-05", 0, 0.0),
        ("2026-11-13", 0, "2026-11-06", 1, -100.0),
    ]
    assert answer.meta.total_rows == 7


async def test_a_bucket_that_one_of_the_ranges_lacks_is_null_there(few: QueryService) -> None:
    longer = await ask(few, **WEEK, include={"comparison": ["2026-10-31", "2026-11-08"]})
    assert [flat(row) for row in longer.results[6:]] == [
        ("2026-11-13", 0, "2026-11-06", 1, -100.0),
        (None, 0, "2026-11-07", 1, None),
        (None, 0, "2026-11-08", 1, None),
    ]
    shorter = await ask(few, **WEEK, include={"comparison": ["2026-11-01", "2026-11-01"]})
    assert [flat(row) for row in shorter.results[:2]] == [
        ("2026-11-07", 1, "2026-11-01", 2, -50.0),
        ("2026-11-08", 1, None, 0, None),
    ]
    assert len(shorter.results) == 7


async def test_every_group_of_either_range_has_a_row_in_every_bucket(few: QueryService) -> None:
    parts = WEEK | {"dimensions": ["visit:source", "time:day"], "include": {"comparison": "previous_period"}}
    answer = await ask(few, **parts)
    assert [flat(row) for row in answer.results[:4]] == [
        ("", "2026-11-07", 0, "", "2026-10-31", 0, 0.0),
        ("Google", "2026-11-07", 1, "Google", "2026-10-31", 0, 100.0),
        ("", "2026-11-08", 1, "", "2026-11-01", 1, 0.0),
        ("Google", "2026-11-08", 0, "Google", "2026-11-01", 1, -100.0),
    ]
    assert len(answer.results) == 14
    ordered = await ask(few, **parts, order_by=[["visit:source", "desc"], ["pageviews", "asc"], ["time:day", "desc"]])
    assert [row.dimensions for row in ordered.results[5:8]] == [
        ["Google", "2026-11-08"],
        ["Google", "2026-11-07"],
        ["", "2026-11-13"],
    ]


async def test_pages_are_cut_from_the_whole_in_its_order(few: QueryService) -> None:
    for order in ([], [["pageviews", "desc"]], [["time:day", "desc"]]):
        parts = WEEK | {"order_by": order, "include": {"comparison": ["2026-10-30", "2026-11-08"], "total_rows": True}}
        whole = await ask(few, **parts)
        pages = [await ask(few, **parts, pagination={"limit": 3, "offset": offset}) for offset in range(0, 12, 3)]
        assert [row for page in pages for row in page.results] == whole.results
        assert {page.meta.total_rows for page in pages} == {10}
    assert [flat(row)[0] for row in whole.results[:4]] == [None, None, None, "2026-11-13"]


async def test_months_of_other_lengths_and_days_of_25_hours_have_all_their_rows(few: QueryService) -> None:
    february = {"date_range": ["2026-02-01", "2026-02-28"], "metrics": ["events"], "dimensions": ["time:day"]}
    answer = await ask(few, **february, include={"comparison": "previous_period"})
    assert [flat(row)[0] for row in answer.results[27:]] == ["2026-02-28", None, None, None]
    assert [flat(row)[2] for row in answer.results[27:]] == [f"2026-01-{day}" for day in range(28, 32)]
    hours = {"date_range": ["2026-10-25", "2026-10-25"], "metrics": ["events"], "dimensions": ["time:hour"]}
    answer = await ask(few, **hours, include={"comparison": "previous_period", "time_labels": True})
    assert [flat(row)[0] for row in answer.results] == answer.meta.time_labels
    assert [flat(row)[2] for row in answer.results] == [*(answer.meta.comparison_time_labels or ()), None]
    assert len(answer.results) == 25


async def test_a_range_without_any_event_has_its_buckets_and_no_groups(few: QueryService) -> None:
    empty = WEEK | {"date_range": ["2020-01-01", "2020-01-03"], "include": {"comparison": "previous_year"}}
    assert len((await ask(few, **empty)).results) == 3
    assert (await ask(few, **(empty | {"dimensions": ["time:day", "event:page"]}))).results == []


async def test_the_way_a_comparison_is_written_does_not_matter(few: QueryService) -> None:
    pair = ["2026-10-01", "2026-10-07"]
    for forms in (
        ({"comparison": "previous_year"}, {"comparison": {"mode": "previous_year"}}),
        (
            {"comparison": "previous_period", "match_day_of_week": True},
            {"comparison": {"mode": "previous_period", "match_day_of_week": True}},
        ),
        ({"comparison": pair}, {"comparison": {"mode": "custom", "date_range": pair}}),
    ):
        answers = [await ask(few, **WEEK, include=form) for form in forms]
        assert answers[0].results == answers[1].results
        assert answers[0].query == answers[1].query
        assert answers[0].query["include"] == {
            "total_rows": False,
            "time_labels": False,
            "match_day_of_week": False,
        } | {name: tuple(value) if isinstance(value, list) else value for name, value in forms[0].items()}


async def test_matching_the_day_of_the_week_says_which_range_it_took(few: QueryService) -> None:
    parts = WEEK | {"date_range": ["2026-11-05", "2026-11-14"]}
    answer = await ask(few, **parts, include={"comparison": "previous_period", "match_day_of_week": True})
    assert answer.meta.comparison_date_range == ("2026-10-22T00:00:00+02:00", "2026-11-01T00:00:00+01:00")


async def test_a_pair_is_compared_as_it_stands_and_says_so(few: QueryService) -> None:
    include = {"comparison": ["2026-10-01", "2026-10-31"], "match_day_of_week": True}
    answer = await ask(few, metrics=["events"], date_range="month", include=include)
    assert answer.meta.warnings == [RUNNING, PAIR_STANDS]
    assert answer.meta.comparison_date_range == ("2026-10-01T00:00:00+02:00", "2026-11-01T00:00:00+01:00")
    running = await ask(few, metrics=["events"], date_range="month", include={"comparison": "previous_period"})
    assert running.meta.warnings == [PARTIAL_COMPARISON]


@pytest.mark.parametrize(
    ("include", "code", "said"),
    [
        ({"comparison": ["2026-10-31", "2026-10-01"]}, "bad_date_range", "is empty"),
        ({"comparison": ["2026-10-31"]}, "bad_request", "$.include.comparison"),
        ({"comparison": "7d"}, "bad_request", "$.include.comparison"),
        ({"comparison": {"mode": "custom"}}, "bad_request", "date_range"),
        (
            {"comparison": {"mode": "previous_year", "date_range": ["2026-10-01", "2026-10-02"]}},
            "bad_request",
            "custom",
        ),
        ({"comparison": {"mode": "last_year"}}, "bad_request", "$.include.comparison.mode"),
        (
            {"comparison": {"mode": "previous_year", "match_day": True}},
            "unknown_key",
            "Did you mean 'match_day_of_week'",
        ),
        ({"match_day_of_week": True}, "bad_request", "needs include.comparison"),
        ({"comparison": "previous_period", "match_day_of_week": "yes"}, "bad_request", "$.include.match_day_of_week"),
    ],
)
async def test_refuses_what_is_no_comparison(few: QueryService, include: Any, code: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        await ask(few, **WEEK, include=include)
    assert caught.value.code == code
    assert said in caught.value.message


DAYS = [Bucket(date(2025, 1, 1) + timedelta(days=number), "") for number in range(100)]


def test_as_many_rows_as_the_limit_may_hold_something_and_one_more_is_refused() -> None:
    asked, _ = question(metrics=["events"], dimensions=["time:day", "event:page"])
    groups: dict[Key, Values] = {(DAYS[0].key, f"/{number}"): (1,) for number in range(MAX_FOUND_ROWS)}
    assert compared_page(asked, DAYS, DAYS, groups, {}).total == 100 * MAX_FOUND_ROWS
    groups[DAYS[0].key, "/more"] = (1,)
    for rows, others in ((groups, {}), ({}, groups)):
        with pytest.raises(RequestError) as caught:
            compared_page(asked, DAYS, DAYS, rows, others)
        assert (caught.value.code, str(MAX_FOUND_ROWS) in caught.value.message) == ("too_many_groups", True)


async def test_more_rows_than_the_limit_are_read_for_the_groups_of_a_page_alone(
    few: QueryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 2 groups in 7 buckets of either range, something happened in 2 rows of the one and 3 of the other."""
    asked: dict[str, Any] = {**WEEK, "dimensions": ["time:day", "visit:source"]}
    asked["include"] = {"comparison": "previous_period", "total_rows": True}
    by_source, backwards = [["visit:source", "desc"]], [["time:day", "desc"], ["visit:source", "asc"]]
    pages: list[tuple[list[list[str]], int, int]] = [([], 1, n) for n in range(15)] + [
        (by_source, 7, 0),
        (by_source, 4, 9),
        (backwards, 1, 3),
    ]

    async def of_one_group() -> list[Any]:
        asking = [
            ask(few, **asked, order_by=order, pagination={"limit": limit, "offset": n}) for order, limit, n in pages
        ]
        return [(one.meta.total_rows, list(map(flat, one.results))) for one in [await each for each in asking]]

    def limit(rows: int) -> None:
        for module in ("compared_rows", "engine"):
            monkeypatch.setattr(f"analytics_server.query.{module}.MAX_FOUND_ROWS", rows)

    async def is_refused(**more: Any) -> bool:
        with pytest.raises(RequestError) as refused:
            await ask(few, **asked, **more)
        return refused.value.code == "too_many_groups"

    whole = await of_one_group()
    limit(2)
    assert await of_one_group() == whole
    assert await is_refused(order_by=[["pageviews", "desc"]])
    assert await is_refused(), "the page is about both groups, which have three rows"
    limit(1)
    assert await is_refused(pagination={"limit": 1, "offset": 0}), "there are two groups"


@pytest.mark.parametrize("order", [[], [["events", "desc"], ["event:page", "desc"]]], ids=str)
def test_pages_reach_as_far_as_the_limit(order: list[list[str]]) -> None:
    groups: dict[Key, Values] = {(DAYS[0].key, f"/{number:04}"): (1,) for number in range(3_000)}

    def page(offset: int) -> list[Key]:
        asked, _ = question(
            metrics=["events"],
            dimensions=["time:day", "event:page"],
            order_by=order,
            pagination={"limit": 10, "offset": offset},
        )
        return [row.key for row in compared_page(asked, DAYS, DAYS, groups, {}).rows]

    assert page(0)[:2] == [(DAYS[0].key, "/2999" if order else "/0000"), (DAYS[0].key, "/2998" if order else "/0001")]
    assert len(page(MAX_PASSED_ROWS - 10)) == 10
    assert page(300_000) == []
    with pytest.raises(RequestError) as caught:
        page(MAX_PASSED_ROWS - 9)
    assert caught.value.code == "bad_pagination"


NAMES = ("a", "b", "ä")
DEPTHS = ("0", "90", "100")
ORDERS = ("events", "bounce_rate", "time:day", "visit:source", "event:scroll_depth")


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(NAMES), st.sampled_from(DEPTHS)), max_size=12, unique=True),
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(NAMES), st.sampled_from(DEPTHS)), max_size=12, unique=True),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.lists(
        st.tuples(st.sampled_from(ORDERS), st.sampled_from(("asc", "desc"))), max_size=5, unique_by=lambda o: o[0]
    ),
    st.permutations(["time:day", "visit:source", "event:scroll_depth"]),
    st.tuples(st.integers(0, 50), st.integers(1, 50)),
    st.randoms(use_true_random=False),
)
def test_every_page_in_every_order_is_one_of_all_rows_sorted(
    ours: list[tuple[int, str, str]],
    theirs: list[tuple[int, str, str]],
    lengths: tuple[int, int],
    orders: list[tuple[str, str]],
    names: list[str],
    page: tuple[int, int],
    random: Random,
) -> None:
    """Against all of them in a list, sorted by one key after the other, the last first."""
    buckets = [DAYS[: lengths[0]], DAYS[50 : 50 + lengths[1]]]

    def rows(found: list[tuple[int, str, str]], side: int) -> dict[Key, Values]:
        kept = [(day, {"visit:source": a, "event:scroll_depth": b}) for day, a, b in found if day < lengths[side]]
        keys = [tuple(buckets[side][day].key if n == "time:day" else parts[n] for n in names) for day, parts in kept]
        return {key: (random.choice((0, 1, 2)), random.choice((None, 0.0, 50.0))) for key in keys}

    held, others = rows(ours, 0), rows(theirs, 1)
    at = names.index("time:day")
    groups = {key[:at] + key[at + 1 :] for key in (*held, *others)}
    expected: list[Key] = []
    days = max(lengths)
    for place, group in itertools.product(range(days), groups):
        bucket = buckets[0][place].key if place < lengths[0] else None
        expected.append((*group[:at], bucket, *group[at:], place))

    def sort(name: str, reverse: bool) -> None:
        if name in ("events", "bounce_rate"):
            nothing: Values = (0, None)
            values = {row: held.get(row[:-1], nothing)[("events", "bounce_rate").index(name)] for row in expected}
            expected.sort(key=lambda row: cast(float, values[row] or 0), reverse=reverse)
            expected.sort(key=lambda row: values[row] is None)
        elif name == "time:day":
            expected.sort(key=lambda row: cast(int, row[-1]), reverse=reverse)
        else:
            number = name == "event:scroll_depth"
            index = names.index(name)
            expected.sort(key=lambda row: (int(str(row[index])) if number else 0, str(row[index])), reverse=reverse)

    rest = [(name, "asc") for name in names if name not in [order[0] for order in orders]]
    wanted = orders or [("time:day", "asc")]
    for name, direction in reversed([*wanted, *rest]):
        sort(name, direction == "desc")
    offset, limit = page
    asked, _ = question(
        metrics=["events", "bounce_rate"],
        dimensions=names,
        order_by=[list(order) for order in orders],
        pagination={"offset": offset, "limit": limit},
    )
    found = compared_page(asked, buckets[0], buckets[1], held, others)
    assert found.total == len(expected)
    assert [(*row.key, row.place) for row in found.rows] == expected[offset : offset + limit]


def spans() -> st.SearchStrategy[tuple[date, int, date, int]]:
    """Two ranges of whole days near the interesting ones."""
    days = st.builds(
        lambda centre, offset: (centre + timedelta(days=offset)).date(), st.sampled_from(CENTRES), st.integers(-4, 4)
    )
    return st.tuples(days, st.integers(1, 5), days, st.integers(1, 5))


METRICS = {"events": 0, "visitors": 0, "sessions": 0, "bounce_rate": None}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    site=st.sampled_from(SITES),
    days=spans(),
    interval=st.sampled_from(("hour", "day", "week", "month")),
    dimensions=st.sampled_from(([], ["visit:source"], ["visit:source", "visit:country"], ["visit:entry_page"])),
    place=st.integers(0, 2),
    metrics=st.lists(st.sampled_from(tuple(METRICS)), min_size=1, max_size=3, unique=True),
    by=st.sampled_from(("", "asc", "desc")),
    page=st.tuples(st.integers(1, 60), st.integers(0, 60)),
)
def test_comparisons_by_time_equal_the_oracle(
    service: QueryService,
    oracles: dict[str, Oracle],
    site: Site,
    days: tuple[date, int, date, int],
    interval: str,
    dimensions: Sequence[str],
    place: int,
    metrics: Sequence[str],
    by: str,
    page: tuple[int, int],
) -> None:
    oracle = oracles[site.site_id]
    place = min(place, len(dimensions))
    named = [*dimensions[:place], f"time:{interval}", *dimensions[place:]]
    first, length, second, other = days
    pairs = [(start, start + timedelta(days=count - 1)) for start, count in ((first, length), (second, other))]
    ranges: list[Span] = [
        (first_instant(start, oracle.zone), first_instant(end + timedelta(days=1), oracle.zone)) for start, end in pairs
    ]
    nothing = [METRICS[name] for name in metrics]
    expected = compared(oracle, metrics, named, [], (ranges[0], ranges[1]), nothing)
    if by:
        places = list(dict.fromkeys((row[0][place], row[2][place]) for row in expected))

        def dimensions_in_order(row: Row) -> list[Any]:
            return [places.index((row[0][n], row[2][n])) if n == place else part for n, part in enumerate(row[0])]

        expected.sort(key=dimensions_in_order)
        # What has no value comes last, whatever the direction.
        expected.sort(key=lambda row: ((row[1][0] is None) == (by == "asc"), row[1][0] or 0), reverse=by == "desc")
    limit, offset = page
    texts = [[edge.isoformat() for edge in pair] for pair in pairs]
    answer = asyncio.run(
        ask(
            service,
            site_id=site.site_id,
            metrics=metrics,
            date_range=texts[0],
            dimensions=named,
            order_by=[[metrics[0], by]] if by else [],
            include={"comparison": texts[1], "total_rows": True},
            pagination={"limit": limit, "offset": offset},
        )
    )
    assert answer.meta.total_rows == len(expected)
    wanted = expected[offset : offset + limit]
    assert [tuple(row.dimensions) for row in answer.results] == [row[0] for row in wanted]
    for row, (_, values, key, others) in zip(answer.results, wanted, strict=True):
        assert row.comparison is not UNSET
        assert row.metrics == pytest.approx(values, abs=0.051)
        assert tuple(row.comparison.dimensions) == key
        assert row.comparison.metrics == pytest.approx(others, abs=0.051)


async def test_a_running_range_has_rows_for_buckets_that_have_not_begun(service: QueryService) -> None:
    include = {"comparison": "previous_period", "time_labels": True}
    answer = await ask(service, metrics=["events"], date_range="day", dimensions=["time:hour"], include=include)
    local = NOW.astimezone(BERLIN)
    day = (first_instant(local.date(), BERLIN), first_instant(local.date() + timedelta(days=1), BERLIN))
    assert [row.dimensions[0] for row in answer.results] == labels("time:hour", day, BERLIN)
    assert [flat(row)[2] for row in answer.results[local.hour :][:3]] == [
        f"2025-11-08T{local.hour}:00+01:00",
        None,
        None,
    ]
