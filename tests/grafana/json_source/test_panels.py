"""The queries of panels: the numbers are those of the reports that answer the same question."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from tests.grafana.frames import ReadFrame, data_frames
from tests.grafana.json_source.asking import (
    DAY_MS,
    EVENTS,
    FROM,
    OTHER,
    RANGE,
    SITE,
    TO,
    ZONE,
    ask,
    midnight_ms,
    panel,
    query,
    target,
    trends,
)
from tests.server import Client

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_frame_has_the_numbers_of_the_trend(client: Client) -> None:
    (frame,) = await ask(client, "query", panel(target("visitors,bounce_rate,total_revenue", "B")))

    assert (frame["refId"], frame["name"]) == ("B", "visitors,bounce_rate,total_revenue")
    rows = await trends(client, metrics="visitors,bounce_rate,total_revenue")
    assert [row["visitors"] for row in rows] == [2, 1, 1]
    assert frame["fields"] == [
        {
            "name": "time",
            "type": "time",
            "values": [midnight_ms(row["time"]) for row in rows],
            "labels": {},
            "config": {},
        },
        *(
            {
                "name": name,
                "type": "number",
                "values": [row[name] for row in rows],
                "labels": {},
                "config": {"unit": unit},
            }
            for name, unit in (("visitors", "short"), ("bounce_rate", "percent"), ("total_revenue", "currency:EUR"))
        ),
    ]


async def test_values_of_a_dimension_are_fields_with_labels(client: Client) -> None:
    (frame,) = await ask(client, "query", panel(target("pageviews", dimension="page", limit="2")))

    rows = await trends(client, metrics="pageviews", breakdown="event:page", limit="2")
    values = list(dict.fromkeys(row["breakdown"] for row in rows))
    assert values == ["/", "/a"]
    assert [(one["labels"], one["config"]["displayNameFromDS"], one["values"]) for one in frame["fields"][1:]] == [
        ({"event:page": value}, value, [row["pageviews"] for row in rows if row["breakdown"] == value])
        for value in values
    ]


async def test_several_metrics_of_a_dimension_are_named_apart(client: Client) -> None:
    (frame,) = await ask(client, "query", panel(target("(visitors|events)", dimension="event:props:none")))

    assert [one["config"]["displayNameFromDS"] for one in frame["fields"][1:]] == ["(none): visitors", "(none): events"]


async def test_series_are_pairs_of_value_and_time(client: Client) -> None:
    early = {
        "refId": "A",
        "target": "pageviews",
        "type": "timeserie",
        "data": {"site": SITE, "dimension": "visit:browser"},
    }

    found = await ask(client, "query", panel(early))

    rows = await trends(client, metrics="pageviews", breakdown="visit:browser")
    assert [(one["refId"], one["target"], one["unit"], one["tags"]) for one in found] == [
        ("A", name, "short", {"visit:browser": name}) for name in ("Firefox", "Chrome")
    ]
    for one in found:
        own = [row for row in rows if row["breakdown"] == one["target"]]
        assert one["datapoints"] == [[row["pageviews"], midnight_ms(row["time"])] for row in own]


async def test_a_table_has_the_numbers_of_the_query(client: Client) -> None:
    asked = [target("visitors,engagement_time", dimension="event:page", format="table"), target("events", "B")]
    asked[1]["type"] = "table"

    table, total = await ask(client, "query", panel(*asked))

    rows = await query(client, metrics=["visitors", "engagement_time"], dimensions=["event:page"])
    assert (table["type"], table["refId"]) == ("table", "A")
    assert table["columns"] == [
        {"text": "event:page", "type": "string"},
        {"text": "visitors", "type": "number", "unit": "short"},
        {"text": "engagement_time", "type": "number", "unit": "s"},
    ]
    assert table["rows"] == [[*row["dimensions"], *row["metrics"]] for row in rows]
    assert (total["rows"], len(EVENTS)) == ([[6]], 6)


async def test_a_table_with_an_interval_is_over_time(client: Client) -> None:
    (table,) = await ask(client, "query", panel(target("events", format="table", interval="day")))

    assert table["columns"][0] == {"text": "time", "type": "time"}
    assert [row[1] for row in table["rows"]] == [3, 2, 1]


async def test_filters_of_payload_and_dashboard_hold_both(client: Client) -> None:
    ad_hoc = [{"key": "browser", "operator": "=", "value": "Firefox", "condition": ""}]
    by_hand = [["is", "event:page", ["/", "/a"]]]
    expected = await trends(
        client, metrics="events", filters=json.dumps([*by_hand, ["is", "visit:browser", ["Firefox"]]])
    )
    assert [row["events"] for row in expected] == [1, 2, 0]

    for key in ("filters", "adhocFilters"):
        for written in (by_hand, json.dumps(by_hand)):
            asked = panel(target("events", filters=written), **{key: ad_hoc})
            (frame,) = await ask(client, "query", asked)
            assert frame["fields"][1]["values"] == [row["events"] for row in expected]


@pytest.mark.parametrize(
    ("operator", "more", "events"),
    [
        ("=", {"value": "/"}, 3),
        ("!=", {"value": "/"}, 3),
        ("=", {"value": "(/|/a)"}, 4),
        ("=|", {"value": "/", "values": ["/", "/a"]}, 4),
        ("!=|", {"value": "/", "values": ["/", "/a"]}, 2),
        ("=~", {"value": "^/.+"}, 3),
        ("!~", {"value": "^/.+"}, 3),
    ],
)
async def test_ad_hoc_operators(client: Client, operator: str, more: dict[str, object], events: int) -> None:
    ad_hoc = [{"key": "event:page", "operator": operator, **more}]

    (table,) = await ask(client, "query", panel(target("events", format="table"), filters=ad_hoc))

    assert table["rows"] == [[events]]


@pytest.mark.parametrize(
    ("interval_ms", "points", "more", "buckets"),
    [
        (3_600_000, 400, {}, 72),
        (3_600_001, 400, {}, 3),
        (60_000, 72, {}, 72),
        (60_000, 71, {}, 3),
        (DAY_MS + 1, 400, {}, 1),
        (40 * DAY_MS, 400, {}, 1),
        (60_000, 4_320, {}, 4_320),
        (60_000, 4_320, {"interval": "day"}, 3),
    ],
)
async def test_buckets_are_as_short_as_the_panel_has_room_for(
    client: Client, interval_ms: int, points: int, more: dict[str, str], buckets: int
) -> None:
    (frame,) = await ask(client, "query", panel(target("events", **more), intervalMs=interval_ms, maxDataPoints=points))

    assert len(frame["fields"][0]["values"]) == buckets
    assert sum(frame["fields"][1]["values"]) == len(EVENTS)


@pytest.mark.parametrize(("values", "buckets"), [(6, 1_440), (7, 24)])
async def test_buckets_are_not_more_than_the_engine_answers(client: Client, values: int, buckets: int) -> None:
    day = {"from": "2025-03-03T00:00:00+01:00", "to": "2025-03-04T00:00:00+01:00"}
    asked = target("events", dimension="event:page", limit=values)

    (frame,) = await ask(client, "query", panel(asked, range=day, intervalMs=60_000, maxDataPoints=1_500))

    assert len(frame["fields"][0]["values"]) == buckets


async def test_a_panel_that_does_not_say_how_wide_it_is_gets_the_trends_own_interval(client: Client) -> None:
    (frame,) = await ask(client, "query", {"range": RANGE, "targets": [target("events")]})

    assert len(frame["fields"][0]["values"]) == 3


async def test_a_funnel_is_the_saved_one(client: Client) -> None:
    whole, by_value = await ask(
        client,
        "query",
        panel(target("funnel", funnel="Buying"), target("funnel", "B", funnel="Buying", dimension="visit:browser")),
    )

    asked = {"site_id": SITE, "date_range": [FROM, TO], "funnel": "Buying"}
    steps = (await client.call("POST", "/api/v1/funnels", asked)).json["steps"]
    fields = {one["name"]: one["values"] for one in whole["fields"]}
    assert fields == {"step": [1, 2], **{key: [step[key] for step in steps] for key in steps[0]}}
    broken_down = (await client.call("POST", "/api/v1/funnels", {**asked, "breakdown": "visit:browser"})).json
    fields = {one["name"]: one["values"] for one in by_value["fields"]}
    assert list(zip(fields["visit:browser"], fields["step"], fields["count"], strict=True)) == [
        (one["value"], number, step["count"])
        for one in broken_down["breakdown"]
        for number, step in enumerate(one["steps"], 1)
    ]


async def test_live_is_the_last_half_hour_by_minute(client: Client) -> None:
    await client.send({"site": OTHER, "name": "pageview", "url": f"https://{OTHER}/now"})
    await client.flushed()

    (frame,) = await ask(client, "query", panel(target("live", site=OTHER)))

    asked = {"site_id": OTHER, "date_range": "realtime", "metrics": ["visitors", "pageviews"]}
    totals = (await client.call("POST", "/api/v1/query", asked)).json["results"][0]["metrics"]
    times, *numbers = [one["values"] for one in frame["fields"]]
    assert [sum(values) for values in numbers] == totals == [1, 1]
    assert len(times) in (30, 31)
    assert all(after - before == 60_000 for before, after in pairwise(times))


async def test_annotations_are_a_frame_and_for_early_versions_events(client: Client) -> None:
    for asked in (target("annotations", "Anno"), {"refId": "Anno", "payload": {"site": SITE}}):
        (frame,) = await ask(client, "query", panel(asked))
        assert frame["refId"] == "Anno"
        fields = {one["name"]: one["values"] for one in frame["fields"]}
        assert fields["text"] == ["New prices.", "Sale."]
        assert fields["time"] == [midnight_ms("2025-03-04"), midnight_ms("2025-03-05")]
        assert fields["timeEnd"] == [None, midnight_ms("2025-03-08")]

    for query_text in (SITE, json.dumps({"site": SITE})):
        source = {"name": "Releases", "query": query_text, "enable": True, "iconColor": "red", "datasource": "x"}
        point, region = await ask(client, "annotations", {"annotation": source, "range": RANGE, "variables": {}})
        assert point["annotation"] == {"name": "Releases", "query": query_text, "enable": True, "iconColor": "red"}
        assert (point["text"], point["time"], point["isRegion"]) == ("New prices.", midnight_ms("2025-03-04"), False)
        assert (region["timeEnd"], region["isRegion"]) == (midnight_ms("2025-03-08"), True)


async def test_warnings_are_notices(client: Client) -> None:
    ends = {"from": FROM, "to": "2099-01-01T00:00:00Z"}

    (frame,) = await ask(client, "query", panel(target("visitors", interval="month"), range=ends))

    assert {one["severity"] for one in frame["meta"]["notices"]} == {"info"}
    assert any("not over" in one["text"] for one in frame["meta"]["notices"])


@pytest.mark.parametrize(
    "payload",
    [
        {"site": "shop\\.example", "dimension": "event:page", "limit": "3"},
        {"site": ["shop.example"], "dimension": ["page"], "limit": 3},
        '{"site": "shop.example", "dimension": "event:page", "limit": "3"}',
        {"site": "SHOP.example", "dimension": "page", "limit": 3, "filters": "", "interval": "", "range": None},
    ],
)
async def test_payloads_may_be_texts_and_values_regular_expressions(client: Client, payload: object) -> None:
    (frame,) = await ask(client, "query", panel({"refId": "A", "target": "events", "payload": payload}))

    assert [one["labels"]["event:page"] for one in frame["fields"][1:]] == ["/", "/buy", "/a"]


async def test_a_range_with_a_name_stands_in_for_the_panels(client: Client) -> None:
    (table,) = await ask(client, "query", panel(target("events", range="7d", format="table")))

    assert table["rows"] == [[0]]


async def test_a_day_of_a_changed_clock_begins_where_it_does(client: Client) -> None:
    change = {"from": "2025-03-29T00:00:00+01:00", "to": "2025-04-01T00:00:00+02:00"}

    (frame,) = await ask(client, "query", panel(target("events"), range=change))

    expected = [datetime(2025, 3, day, tzinfo=ZONE).astimezone(UTC).timestamp() * 1000 for day in (29, 30, 31)]
    assert frame["fields"][0]["values"] == expected


@pytest.mark.parametrize(
    ("filters", "meant"),
    [
        ('[["is","visit:browser",["(Firefox|Chrome)"]]]', [["is", "visit:browser", ["Firefox", "Chrome"]]]),
        ('[["is_not","visit:browser",["(Firefox|Safari)"]]]', [["is_not", "visit:browser", ["Firefox", "Safari"]]]),
        (r'[["is","event:hostname",["shop\.example"]]]', [["is", "event:hostname", ["shop.example"]]]),
        (r'[["or",[["is","event:hostname",["shop\.example"]]]]]', [["is", "event:hostname", ["shop.example"]]]),
        (r'[["contains","event:hostname",["p\.ex"]]]', [["contains", "event:hostname", ["p.ex"]]]),
        (r'[["matches","event:hostname",["^shop\\.ex"]]]', [["matches", "event:hostname", [r"^shop\.ex"]]]),
        (r'[["matches","event:hostname",["shop\.ex"]]]', [["matches", "event:hostname", [r"shop\.ex"]]]),
    ],
)
async def test_variables_in_filters_that_come_as_text_are_values(
    client: Client, filters: str, meant: list[object]
) -> None:
    """As the builder sends them: what a variable brings is written as a regular expression."""
    (frame,) = await ask(client, "query", panel(target("events", filters=filters)))

    rows = await query(client, metrics=["events"], dimensions=["time:day"], filters=meant)
    counts = {row["dimensions"][0]: row["metrics"][0] for row in rows}
    assert counts
    assert [value for value in frame["fields"][1]["values"] if value] == [*counts.values()]


async def test_a_series_without_data_is_an_empty_series(client: Client) -> None:
    nobody = [["is", "event:page", ["/nothing"]]]
    asked = target("visitors", dimension="event:page", format="timeseries", filters=nobody)

    (series,) = await ask(client, "query", panel(asked))

    assert (series["refId"], series["datapoints"]) == ("A", [])


async def test_a_range_that_ends_where_the_panel_begins_is_not_in_it(client: Client) -> None:
    after = {"from": "2025-03-08T00:00:00.000+01:00", "to": TO.replace("03-06", "03-09")}
    (frame,) = await ask(client, "query", panel(target("annotations"), range=after))

    assert frame["fields"][0]["values"] == []


async def test_keys_that_are_null_are_left_out(client: Client) -> None:
    filters = [{"key": "visit:browser", "operator": "=", "value": "Firefox", "values": None}]
    (frame,) = await ask(client, "query", panel(target("visitors"), filters=filters))
    assert frame["fields"][1]["values"] == [1, 1, 0]
    source = {"name": None, "enable": None, "iconColor": None, "query": SITE}
    assert len(await ask(client, "annotations", {"annotation": source, "range": RANGE})) == 2


async def test_amounts_by_currency_have_their_units(client: Client) -> None:
    (frame,) = await ask(client, "query", panel(target("total_revenue", dimension="event:currency")))

    units = {one["labels"]["event:currency"]: one["config"]["unit"] for one in frame["fields"][1:]}
    assert units["EUR"] == "currency:EUR"


async def test_grafana_reads_each_shape_of_an_answer(client: Client) -> None:
    """By its own library: fields' types, names, units and labels."""
    metrics = "visitors,bounce_rate,total_revenue,session_duration"
    asked = [
        target(metrics, "frame"),
        target(metrics, "table", format="table"),
        target("pageviews", "values", dimension="page", limit="2"),
        target("pageviews", "series", dimension="page", limit="2", format="timeseries"),
        target("total_revenue", "pages", dimension="page", format="table"),
        target("funnel", "funnel", funnel="Buying", dimension="visit:browser"),
        target("live", "live", site=OTHER),
        target("annotations", "notes"),
        target("events", "nothing", dimension="page", filters=[["is", "event:page", ["/nothing"]]]),
        target("events", "nothing listed", dimension="page", format="table", filters=[["is", "event:page", ["/no"]]]),
    ]
    answers = await ask(client, "query", panel(*asked))

    frames: dict[str, list[ReadFrame]] = {}
    for answer, frame in zip(answers, data_frames(answers), strict=True):
        assert frame.ref_id == answer["refId"]
        frames.setdefault(answer["refId"], []).append(frame)
    assert [*frames] == [one["refId"] for one in asked]
    (whole,), (table,) = frames["frame"], frames["table"]
    assert [(one.name, one.type, one.unit) for one in whole.fields] == [
        ("time", "time", None),
        ("visitors", "number", "short"),
        ("bounce_rate", "number", "percent"),
        ("total_revenue", "number", "currency:EUR"),
        ("session_duration", "number", "s"),
    ]
    assert [one.written for one in whole.fields if one.name == "bounce_rate"] == ["50%"]
    assert [(one.name, one.type, one.unit) for one in table.fields] == [
        (one.name, one.type, one.unit) for one in whole.fields[1:]
    ]
    assert (whole.length, table.length) == (3, 1)
    (values,), series = frames["values"], frames["series"]
    pages = [("/", {"event:page": "/"}), ("/a", {"event:page": "/a"})]
    assert [(one.shown, one.labels) for one in values.fields[1:]] == pages
    assert [(one.fields[1].shown, one.fields[1].labels) for one in series] == pages
    for one, field in zip(series, values.fields[1:], strict=True):
        assert [(each.type, each.values) for each in one.fields] == [
            ("time", values.fields[0].values),
            ("number", field.values),
        ]
    (notes,), (live,), (nothing,) = frames["notes"], frames["live"], frames["nothing"]
    assert [one.type for one in notes.fields] == ["time", "time", "string", "string", "string"]
    assert [one.type for one in live.fields] == ["time", "number", "number"]
    assert [(one.type, one.unit) for one in frames["funnel"][0].fields[:4]] == [
        ("string", None),
        ("number", None),
        ("string", None),
        ("number", "short"),
    ]
    assert [one.type for one in frames["pages"][0].fields] == ["string", "number"]
    assert all(not any(field.values) for field in nothing.fields[1:])
    assert [(one.type, one.values) for one in frames["nothing listed"][0].fields] == [("string", []), ("number", [])]
