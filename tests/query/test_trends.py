"""Charts: flat rows, no gaps, the most important values of a breakdown."""

from __future__ import annotations

from datetime import datetime

import pytest

from analytics_server.errors import RequestError
from analytics_server.query.answer import Trends
from analytics_server.query.engine import QueryService
from analytics_server.query.trends import parse_trends, run_trends
from tests.query.oracle import Oracle

SITE = "berlin.example"


async def chart(service: QueryService, **parameters: str) -> Trends:
    named = {name.rstrip("_"): value for name, value in parameters.items()}
    return await run_trends(service, parse_trends({"site_id": SITE} | named))


async def test_every_bucket_has_a_row(service: QueryService, oracles: dict[str, Oracle]) -> None:
    metrics = ["visitors", "sessions", "bounce_rate"]
    found = await chart(service, metrics=",".join(metrics), interval="hour", from_="2025-10-26", to="2025-10-26")
    start, end = (datetime.fromisoformat(text) for text in ("2025-10-26T00:00+02:00", "2025-10-27T00:00+01:00"))
    expected = oracles[SITE].answer(metrics, ["time:hour"], [], start, end)
    assert len(found.rows) == 25
    for row in found.rows:
        values = expected.get((str(row["time"]),), [0, 0, None])
        assert [row[metric] for metric in metrics] == pytest.approx(values, abs=0.051)
    assert any(row["visitors"] == 0 for row in found.rows)


async def test_breakdown_shows_the_greatest_values_in_every_bucket(
    service: QueryService, oracles: dict[str, Oracle]
) -> None:
    found = await chart(
        service,
        metrics="events,visitors",
        interval="week",
        from_="2025-10-20",
        to="2025-11-02",
        breakdown="event:page",
        limit="3",
        filters='[["is_not", "event:name", ["scroll"]]]',
    )
    start, end = (datetime.fromisoformat(text) for text in ("2025-10-20T00:00+02:00", "2025-11-03T00:00+01:00"))
    filters = [["is_not", "event:name", ["scroll"]]]
    totals = oracles[SITE].answer(["events"], ["event:page"], filters, start, end)
    greatest = sorted(totals, key=lambda key: (-(totals[key][0] or 0), key))[:3]
    expected = oracles[SITE].answer(["events", "visitors"], ["time:week", "event:page"], filters, start, end)
    assert [(row["time"], row["breakdown"]) for row in found.rows] == [
        (week, key[0]) for week in ("2025-10-20", "2025-10-27") for key in greatest
    ]
    for row in found.rows:
        key = (str(row["time"]), str(row["breakdown"]))
        assert [row["events"], row["visitors"]] == expected.get(key, [0, 0])


async def test_leaves_out_buckets_that_have_not_begun(service: QueryService) -> None:
    found = await chart(service, date_range="month", interval="day")
    assert [row["time"] for row in found.rows] == [f"2025-11-0{day}" for day in range(1, 10)]


async def test_defaults_to_visitors_of_thirty_days(service: QueryService) -> None:
    found = await chart(service)
    assert (found.interval, found.metrics, found.breakdown, len(found.rows)) == ("day", ["visitors"], None, 30)


def test_an_empty_parameter_is_one_left_out() -> None:
    names = ("metrics", "interval", "from", "to", "date_range", "breakdown", "filters", "limit")
    assert parse_trends({"site_id": SITE, **dict.fromkeys(names, "")}) == parse_trends({"site_id": SITE})


async def test_reads_times_as_epoch_milliseconds_and_with_an_offset(service: QueryService) -> None:
    by_number = await chart(service, from_="1761429600000", to="1761516000000")
    by_text = await chart(service, from_="2025-10-26T00:00:00+02:00", to="2025-10-26T23:00:00 01:00")
    assert by_number.meta.date_range == by_text.meta.date_range


async def test_charts_of_goals_and_of_revenue(service: QueryService, oracles: dict[str, Oracle]) -> None:
    metrics = ["group_conversion_rate", "total_revenue", "scroll_depth"]
    found = await chart(
        service,
        metrics=",".join(metrics),
        interval="day",
        from_="2025-10-24",
        to="2025-10-27",
        breakdown="event:goal",
        limit="2",
    )
    start, end = (datetime.fromisoformat(text) for text in ("2025-10-24T00:00+02:00", "2025-10-28T00:00+01:00"))
    expected = oracles[SITE].answer(metrics, ["time:day", "event:goal"], [], start, end)
    assert isinstance(found.meta.currencies, dict)
    assert (found.meta.currencies["Signed up"], found.meta.currencies["Clicked as a pro"]) == ("EUR", "JPY")
    assert len(found.rows) == 8
    assert len({row["breakdown"] for row in found.rows}) == 2
    for row in found.rows:
        values = expected.get((str(row["time"]), str(row["breakdown"])), [None, 0, None])
        assert [row[metric] for metric in metrics] == pytest.approx(values, abs=0.051)


async def test_a_chart_in_several_currencies_is_refused(service: QueryService) -> None:
    with pytest.raises(RequestError) as caught:
        await chart(service, site_id="utc.example", metrics="total_revenue", from_="2025-10-24", to="2025-10-27")
    assert caught.value.code == "several_currencies"


async def test_breakdown_of_nothing_has_no_rows(service: QueryService) -> None:
    found = await chart(service, site_id="empty.example", breakdown="visit:source")
    assert found.rows == []


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"intervall": "day"}, "unknown_key"),
        ({"interval": "year"}, "bad_request"),
        ({"site_id": ""}, "bad_request"),
        ({"from": "2025-01-01"}, "bad_date_range"),
        ({"from": "2025-01-01", "to": "2025-01-02", "date_range": "7d"}, "bad_date_range"),
        ({"breakdown": "time:day"}, "bad_request"),
        ({"filters": "{"}, "bad_filter"),
        ({"filters": "[" * 100_000}, "bad_filter"),
        ({"filters": "{}"}, "bad_filter"),
        ({"limit": "0"}, "bad_request"),
        ({"limit": "101"}, "bad_request"),
        ({"limit": "²"}, "bad_request"),
        ({"limit": "0" * 9 + "19999"}, "bad_request"),
        ({"limit": "0" * 8 + "1" + "0" * 5000}, "bad_request"),
    ],
)
def test_refuses_and_says_why(parameters: dict[str, str], code: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_trends({"site_id": SITE} | parameters)
    assert caught.value.code == code


async def test_refuses_more_buckets_than_an_answer_may_hold(service: QueryService) -> None:
    with pytest.raises(RequestError) as caught:
        await chart(service, date_range="30d", interval="minute")
    assert caught.value.code == "too_many_buckets"
