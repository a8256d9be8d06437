"""Whole answers: comparison, pages, totals, labels, and what the meta says."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from analytics_server.config import LimitsSection
from analytics_server.errors import NotFound, RequestError
from analytics_server.model import Site
from analytics_server.query.answer import Answer
from analytics_server.query.context import MAX_SQL_CHARS
from analytics_server.query.engine import QueryService
from analytics_server.query.language.request import MAX_GOALS
from analytics_server.query.warnings import DAILY_VISITORS, NO_GOALS, PARTIAL_COMPARISON, RUNNING
from analytics_server.saved.store import Kind, Saved
from analytics_server.store import Store
from tests.query.conftest import Directory
from tests.query.oracle import Oracle
from tests.query.questions import NOW, body

SITE = "berlin.example"
OCTOBER = ["2025-10-20", "2025-10-31"]


async def ask(service: QueryService, **parts: Any) -> Answer:
    return await service.run(body(**parts))


def local(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_pages_add_up_to_the_whole_and_never_overlap(service: QueryService) -> None:
    parts: dict[str, Any] = {
        "metrics": ["visitors", "sessions"],
        "date_range": OCTOBER,
        "dimensions": ["event:page", "visit:source"],
        "include": {"total_rows": True},
    }
    whole = await ask(service, **parts, pagination={"limit": 1_000})
    pages = [await ask(service, **parts, pagination={"limit": 7, "offset": offset}) for offset in range(0, 70, 7)]
    assert whole.meta.total_rows == len(whole.results) > 14
    assert [row for page in pages for row in page.results] == whole.results
    assert {page.meta.total_rows for page in pages} == {whole.meta.total_rows}


async def test_counts_all_rows_even_past_the_last_page(service: QueryService) -> None:
    answer = await ask(
        service,
        date_range=OCTOBER,
        dimensions=["visit:source"],
        include={"total_rows": True},
        pagination={"offset": 500},
    )
    assert (answer.results, answer.meta.total_rows) == ([], 4)


async def test_orders_by_any_metric_or_dimension_with_nulls_last(service: QueryService) -> None:
    answer = await ask(
        service,
        metrics=["bounce_rate", "events"],
        date_range=OCTOBER,
        dimensions=["event:page", "event:hostname"][:1],
        order_by=[["bounce_rate", "desc"], ["event:page", "desc"]],
    )
    rates = [row.metrics[0] for row in answer.results]
    known = [rate for rate in rates if rate is not None]
    assert known == sorted(known, reverse=True)
    assert rates == known + [None] * (len(rates) - len(known))


async def test_a_site_without_events_has_zeros_and_no_averages(service: QueryService) -> None:
    metrics = ["visitors", "sessions", "pageviews", "events", "bounce_rate", "session_duration", "views_per_session"]
    metrics += ["scroll_depth", "engagement_time", "total_revenue", "average_revenue", "percentage"]
    for filters in ([], [["is", "event:name", ["x"]]], [["is", "visit:source", ["x"]]]):
        answer = await ask(service, site_id="empty.example", metrics=metrics, date_range="all", filters=filters)
        assert [row.metrics for row in answer.results] == [[0, 0, 0, 0, *[None] * 5, 0, None, None]]
    answer = await ask(service, site_id="empty.example", metrics=metrics[:5], dimensions=["event:page"])
    assert answer.results == []


async def test_compares_each_group_with_the_same_group_before(
    service: QueryService, oracles: dict[str, Oracle]
) -> None:
    metrics = ["visitors", "sessions", "bounce_rate", "session_duration"]
    answer = await ask(
        service,
        metrics=metrics,
        date_range=["2025-10-25", "2025-10-27"],
        dimensions=["visit:source"],
        include={"comparison": "previous_period"},
        pagination={"limit": 3},
    )
    start, end = local("2025-10-22T00:00+02:00"), local("2025-10-25T00:00+02:00")
    before = oracles[SITE].answer(metrics, ["visit:source"], [], start, end)
    assert answer.meta.comparison_date_range == (start.isoformat(), end.isoformat())
    assert len(answer.results) == 3
    for row in answer.results:
        comparison = row.comparison
        assert isinstance(comparison, msgspec.Struct)
        assert comparison.dimensions == row.dimensions
        assert comparison.metrics == pytest.approx(before[tuple(map(str, row.dimensions))], abs=0.051)
        visitors, then = row.metrics[0], comparison.metrics[0]
        assert isinstance(visitors, int)
        assert isinstance(then, int)
        assert comparison.change[0] == pytest.approx((visitors - then) * 100 / then, abs=0.051)
        bounced, bounced_then = row.metrics[2], comparison.metrics[2]
        assert bounced is not None
        assert bounced_then is not None
        assert comparison.change[2] == pytest.approx(bounced - bounced_then, abs=0.11)


async def test_compares_buckets_by_their_place_in_the_range(service: QueryService, oracles: dict[str, Oracle]) -> None:
    answer = await ask(
        service,
        metrics=["events"],
        date_range=["2025-10-25", "2025-10-28"],
        dimensions=["time:day"],
        include={"comparison": "previous_period", "time_labels": True},
    )
    before = oracles[SITE].answer(
        ["events"], ["time:day"], [], local("2025-10-21T00:00+02:00"), local("2025-10-25T00:00+02:00")
    )
    assert answer.meta.time_labels == ["2025-10-25", "2025-10-26", "2025-10-27", "2025-10-28"]
    assert answer.meta.comparison_time_labels == ["2025-10-21", "2025-10-22", "2025-10-23", "2025-10-24"]
    for row in answer.results:
        comparison = row.comparison
        assert isinstance(comparison, msgspec.Struct)
        own = str(row.dimensions[0])
        day = local(own).replace(day=int(own[-2:]) - 4).date().isoformat()
        assert comparison.dimensions == [day]
        assert comparison.metrics == before.get((day,), [0])


async def test_pages_of_a_comparison_keep_their_order_and_their_counterparts(service: QueryService) -> None:
    """Whatever the page, and also by a share: rows are those of the whole answer, each with its own group before."""
    parts: dict[str, Any] = {
        "metrics": ["group_conversion_rate", "visitors", "percentage"],
        "date_range": ["2025-10-25", "2025-10-27"],
        "dimensions": ["visit:source", "event:goal"],
        "include": {"comparison": "previous_period", "total_rows": True},
        "order_by": [["group_conversion_rate", "desc"], ["event:goal", "desc"]],
    }
    whole = await ask(service, **parts)
    pages = [await ask(service, **parts, pagination={"limit": 3, "offset": offset}) for offset in range(0, 36, 3)]
    assert [row for page in pages for row in page.results] == whole.results
    assert whole.meta.total_rows == len(whole.results) > 12
    rates = [row.metrics[0] for row in whole.results]
    assert rates == sorted(rates, key=lambda rate: -(rate or 0))
    plain = {**parts, "date_range": ["2025-10-22", "2025-10-24"], "include": {}}
    before = {tuple(row.dimensions): row.metrics for row in (await ask(service, **plain)).results}
    for row in whole.results:
        assert isinstance(row.comparison, msgspec.Struct)
        assert row.comparison.metrics == before.get(tuple(row.dimensions), [None, 0, None])


async def test_a_comparison_in_two_currencies_is_refused(service: QueryService) -> None:
    """Each range may have a currency of its own; their amounts can't be compared all the same."""
    parts: dict[str, Any] = {
        "site_id": "utc.example",
        "metrics": ["total_revenue"],
        "date_range": ["2025-10-25", "2025-10-27"],
    }
    with pytest.raises(RequestError) as caught:
        await ask(service, **parts)
    assert caught.value.code == "several_currencies"
    assert "EUR, JPY, USD" in caught.value.message
    chosen = await ask(service, **parts, filters=[["is", "event:currency", ["JPY"]]])
    assert (chosen.meta.currency, len(chosen.results)) == ("JPY", 1)
    by_currency = await ask(service, **parts, dimensions=["event:currency"], include={"comparison": "previous_period"})
    assert by_currency.meta.currency is msgspec.UNSET
    amounts = {row.dimensions[0]: row.metrics[0] for row in by_currency.results}
    assert amounts.keys() == {"EUR", "JPY", "USD", ""}
    assert amounts["JPY"] == chosen.results[0].metrics[0]


async def test_warns_of_what_the_numbers_are_not(service: QueryService) -> None:
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"date_range": OCTOBER}, [DAILY_VISITORS]),
        ({"date_range": OCTOBER, "metrics": ["percentage"], "dimensions": ["time:week"]}, [DAILY_VISITORS]),
        ({"date_range": OCTOBER, "dimensions": ["time:day"]}, []),
        ({"date_range": OCTOBER, "metrics": ["sessions"]}, []),
        ({"date_range": ["2025-10-26", "2025-10-26"]}, []),
        ({"date_range": "day"}, [RUNNING]),
        ({"date_range": "7d", "include": {"comparison": "previous_year"}}, [DAILY_VISITORS, PARTIAL_COMPARISON]),
        ({"date_range": "day", "site_id": "empty.example", "dimensions": ["event:goal"]}, [RUNNING, NO_GOALS]),
    ]
    for parts, expected in cases:
        assert (await ask(service, **parts)).meta.warnings == expected, parts


async def test_goals_and_segments_are_known_by_name_and_by_id(service: QueryService) -> None:
    assert service.context.saved is not None
    goal = service.context.saved.find(Kind.GOAL, SITE, "Signed up")
    segment = service.context.saved.find(Kind.SEGMENT, SITE, "Germans")
    assert goal is not None
    assert segment is not None
    for kind, thing in (("goal", goal), ("segment", segment)):
        found = [await ask(service, date_range=OCTOBER, filters=[[kind, each]]) for each in (thing.id, thing.name)]
        assert found[0].results == found[1].results
    by_id = await ask(service, date_range=OCTOBER, dimensions=["event:goal"], filters=[["goal", goal.id]])
    assert [row.dimensions for row in by_id.results] == [["Signed up"]]
    for kind in ("goal", "segment"):
        with pytest.raises(RequestError) as caught:
            await ask(service, site_id="empty.example", filters=[[kind, "Signed up"]])
        assert caught.value.code == f"unknown_{kind}"


async def test_shares_and_visitors_beside_them_are_never_approximate(service: QueryService) -> None:
    parts: dict[str, Any] = {"metrics": ["visitors", "events"], "filters": [["goal", "Signed up"]]}
    assert (await ask(service, **parts)).meta.approximate == ["visitors"]
    for share in ("conversion_rate", "group_conversion_rate", "percentage"):
        assert (await ask(service, **{**parts, "metrics": [share, "visitors"]})).meta.approximate == []


async def test_goals_too_complex_for_one_statement_are_refused(store: Store) -> None:
    saved = Saved(store)
    filters = [["has_done", ["is", "event:page", [f"/{number}"]]] for number in range(8)]
    for number in range(60):
        await saved.put(Kind.GOAL, "empty.example", f"Done {number:03}", {"filters": filters})
    service = QueryService(store, Directory(), lambda: NOW, LimitsSection(), saved)
    with pytest.raises(RequestError) as caught:
        await ask(service, site_id="empty.example", dimensions=["event:goal"])
    assert caught.value.code == "too_complex"
    few = [["contains", "event:goal", ["Done 00"]]]
    with pytest.raises(RequestError) as caught:
        await ask(service, site_id="empty.example", dimensions=["event:goal"], filters=few)
    assert caught.value.code == "bad_filter"
    for thing in saved.all(Kind.GOAL, "empty.example"):
        await saved.delete(Kind.GOAL, "empty.example", thing.id)


async def test_goals_that_can_not_be_read_are_left_out_of_the_groups(store: Store) -> None:
    saved = Saved(store)
    bodies = [{"event": "signup"}, {"event": 7}, {"filters": [["is", "no:such", ["x"]]]}, {}]
    things = [await saved.put(Kind.GOAL, "empty.example", f"Goal {n}", body) for n, body in enumerate(bodies)]
    service = QueryService(store, Directory(), lambda: NOW, LimitsSection(), saved)
    assert (await ask(service, site_id="empty.example", dimensions=["event:goal"])).results == []
    assert (await ask(service, site_id="empty.example", filters=[["goal", "Goal 0"]])).results
    with pytest.raises(RequestError) as caught:
        await ask(service, site_id="empty.example", filters=[["goal", "Goal 1"]])
    assert caught.value.code == "bad_saved"
    for thing in things:
        await saved.delete(Kind.GOAL, "empty.example", thing.id)


async def test_a_statement_of_the_greatest_length_is_answered_and_a_longer_one_refused(service: QueryService) -> None:
    def statement(chars: int) -> str:
        return f"SELECT length('{'x' * (chars - len(around))}')"

    around = "SELECT length('')"
    longest = await service.context.query(statement(MAX_SQL_CHARS), {})
    assert longest.rows == [(MAX_SQL_CHARS - len(around),)]
    with pytest.raises(RequestError) as caught:
        await service.context.query(statement(MAX_SQL_CHARS + 1), {})
    assert caught.value.code == "too_complex"


async def test_more_goals_than_can_be_grouped_by_are_refused(store: Store) -> None:
    saved = Saved(store)
    for number in range(MAX_GOALS + 1):
        await saved.put(Kind.GOAL, "empty.example", f"Goal {number:03}", {"event": f"event {number}"})
    service = QueryService(store, Directory(), lambda: NOW, LimitsSection(), saved)
    with pytest.raises(RequestError) as caught:
        await ask(service, site_id="empty.example", dimensions=["event:goal"])
    assert (caught.value.code, "100" in caught.value.message) == ("unsupported_combination", True)
    some = await ask(
        service, site_id="empty.example", dimensions=["event:goal"], filters=[["contains", "event:goal", ["Goal 00"]]]
    )
    assert some.results == []


async def test_change_is_defined_where_there_was_nothing_before(service: QueryService) -> None:
    answer = await ask(
        service,
        metrics=["events", "bounce_rate"],
        date_range=["2025-10-25", "2025-10-27"],
        include={"comparison": "previous_year"},
    )
    comparison = answer.results[0].comparison
    assert isinstance(comparison, msgspec.Struct)
    assert (comparison.metrics, comparison.change) == ([0, None], [100.0, None])


async def test_a_running_range_says_that_it_is_compared_in_part(service: QueryService) -> None:
    running = await ask(service, date_range="7d", include={"comparison": "previous_period"})
    over = await ask(service, date_range=OCTOBER, include={"comparison": "previous_period"})
    assert [PARTIAL_COMPARISON in answer.meta.warnings for answer in (running, over)] == [True, False]


async def test_time_stands_for_an_interval_that_suits_the_range(service: QueryService) -> None:
    answer = await ask(service, dimensions=["time"], date_range=["2025-10-26", "2025-10-26"])
    assert answer.query["dimensions"] == ["time:hour"]
    assert str(answer.results[0].dimensions[0]).endswith(("+02:00", "+01:00"))


FOLDED = {"case_sensitive": False}


async def test_all_begins_with_the_first_event(service: QueryService, oracles: dict[str, Oracle]) -> None:
    answer = await ask(service, metrics=["events"], date_range="all")
    assert answer.results[0].metrics == [sum(not event.passive for event in oracles[SITE].events)]


async def test_names_what_is_approximate(service: QueryService) -> None:
    parts: dict[str, Any] = {"metrics": ["sessions", "visitors"], "dimensions": ["event:page"], "date_range": OCTOBER}
    assert (await ask(service, **parts)).meta.approximate == ["sessions", "visitors"]
    assert (await ask(service, **parts, exact=True)).meta.approximate == []
    assert (await ask(service, metrics=["sessions", "events"])).meta.approximate == []


async def test_meta_tells_the_table_the_zone_and_the_cost(service: QueryService) -> None:
    answer = await ask(service, date_range=OCTOBER)
    assert (answer.meta.table, answer.meta.time_zone) == ("traffic", "Europe/Berlin")
    assert answer.meta.date_range == ("2025-10-20T00:00:00+02:00", "2025-11-01T00:00:00+01:00")
    assert answer.meta.elapsed_ms > 0
    assert answer.query["date_range"] == list(answer.meta.date_range)


@pytest.mark.parametrize("pattern", ["(", r"(?=a)", r"\1", "a{2000}", "[z-a]"])
async def test_refuses_patterns_that_re2_does_not_know(service: QueryService, pattern: str) -> None:
    with pytest.raises(RequestError) as caught:
        await ask(service, site_id="empty.example", filters=[["matches", "event:page", [pattern]]])
    assert caught.value.code == "bad_pattern"


@pytest.mark.parametrize("text", ["'", "\\", "\\'); DROP TABLE events; --", "\x00", "\n\t", "{site:String}", "€😀"])
async def test_values_reach_clickhouse_unharmed(service: QueryService, oracles: dict[str, Oracle], text: str) -> None:
    start, end = local("2025-10-20T00:00+02:00"), local("2025-11-01T00:00+01:00")
    for operator in ("is", "contains", "matches_wildcard"):
        filters = [[operator, "event:page", [text]]]
        answer = await ask(service, date_range=OCTOBER, filters=filters, metrics=["events", "sessions"])
        expected = oracles[SITE].answer(["events", "sessions"], [], filters, start, end)
        assert answer.results[0].metrics == expected[()]


async def test_site_names_are_read_in_their_one_spelling(service: QueryService) -> None:
    answer = await ask(service, site_id=" Berlin.Example ", date_range=OCTOBER)
    assert answer.query["site_id"] == SITE


async def test_refuses_an_unknown_site(service: QueryService) -> None:
    with pytest.raises(NotFound) as caught:
        await ask(service, site_id="elsewhere.example")
    assert caught.value.code == "unknown_site"


async def test_a_site_with_a_broken_zone_is_answered_in_utc(store: Store) -> None:
    directory = Directory({"odd.example": Site(site_id="odd.example", timezone="Mars/Base")})
    service = QueryService(store, directory, lambda: NOW, LimitsSection())
    answer = await ask(service, site_id="odd.example")

    assert answer.meta.time_zone == "UTC"


async def test_what_is_compared_without_case_is_bounded(service: QueryService) -> None:
    """Each letter becomes a part of a regular expression, which is made on the loop."""
    most = [f"{number}{'a' * 1_999}" for number in range(5)]
    for filters in ([["is", "event:title", most, FOLDED]], [["has_done", ["contains", "event:title", most, FOLDED]]]):
        await ask(service, metrics=["visitors"], filters=filters)
    with pytest.raises(RequestError, match="10,001 characters together"):
        await ask(service, metrics=["visitors"], filters=[["is", "event:title", [*most, "b"], FOLDED]])
