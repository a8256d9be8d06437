"""Faults in side fields, on a real server and its engine: every event is stored, and as the answer says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server import Client


async def stored(client: Client, site: str, columns: str) -> list[list[Any]]:
    """These columns of the site's events, in the order of their times."""
    await client.flushed()
    reply = await client.call(
        "POST", "/api/v1/sql", {"site_id": site, "query": f"SELECT {columns} FROM events ORDER BY ts, event_id"}
    )
    assert reply.status == 200, reply.body
    rows: list[list[Any]] = reply.json["rows"]
    return rows


@pytest.mark.parametrize(
    ("fields", "warnings", "columns", "values"),
    [
        ({"user_id": 42}, [("user_id", "made_text")], "user_id", ["42"]),
        (
            {"props": {"plan": "pro", "tags": ["a", "b"]}},
            [("props.tags", "made_text")],
            "props['plan'], props['tags']",
            ["pro", '["a","b"]'],
        ),
        (
            {"revenue": {"amount": "99,00", "currency": "EUR"}},
            [("revenue.amount", "made_number")],
            "toFloat64(revenue_amount), revenue_currency",
            [99.0, "EUR"],
        ),
        (
            {"props": {f"k{number}": number for number in range(51)}},
            [("props.k50", "left_out")],
            "length(props), props['k49']",
            [50, "49"],
        ),
        ({"scroll_depth": 101}, [("scroll_depth", "clamped")], "scroll_depth", [100]),
        ({"props": {"k": "v" * 1_025}}, [("props.k", "cut")], "length(props['k'])", [1_024]),
        ({"language": "en_US"}, [], "language", ["en-US"]),
        ({"title": {"en": "Home"}}, [("title", "left_out")], "title", [""]),
    ],
)
async def test_what_is_stored_is_what_the_answer_says(
    client: Client, site: str, fields: dict[str, Any], warnings: list[tuple[str, str]], columns: str, values: list[Any]
) -> None:
    view = {"site": site, "name": "pageview", "url": f"https://{site}/", **fields}
    for body in (view, [view], {"events": [view]}):
        reply = await client.send(body)

        expected: dict[str, Any] = {"accepted": 1, "dropped": {}, "rejected": []}
        if warnings:
            expected["warnings"] = [{"index": 0, "field": field, "code": code} for field, code in warnings]
        assert (reply.status, reply.json) == (202, expected)
    assert await stored(client, site, columns) == [values] * 3


async def test_one_odd_value_set_for_all_events_costs_none_of_them(client: Client, site: str) -> None:
    events = [{"site": site, "name": "pageview", "url": f"https://{site}/{page}", "user_id": 7} for page in range(20)]

    for event in events[:10]:
        await client.send(event)
    await client.send(events[10:])

    await client.kept(site, 20)


async def test_a_clock_ten_hours_behind_is_corrected(client: Client, site: str) -> None:
    event = {"site": site, "name": "x"}
    await client.send({**event, "timestamp": 1_764_000_000_000.5, "sent_at": 1_764_000_002_000.5})
    await client.send({"events": [{**event, "timestamp": 1_764_000_000}], "sent_at": "2025-11-24T16:00:02Z"})

    rows = await stored(client, site, "dateDiff('second', ts, now()) BETWEEN 1 AND 120")
    assert rows in ([[1], [1]], [[True], [True]])


@pytest.mark.parametrize(
    "query", ["user_id=" + "u" * 300, "session_id=" + "s" * 65, "event_id=none", "title=%00", "user_id=a%0Ab"]
)
async def test_the_pixel_too_keeps_the_event_and_counts_the_warning(client: Client, site: str, query: str) -> None:
    name = 'ingest_warnings_total{code="left_out"}'
    before = await client.metric(name)
    reply = await client.get(f"/track/pixel.gif?site={site}&url=https://{site}/&{query}")

    assert (reply.status, reply.headers["Content-Type"]) == (200, "image/gif")
    await client.kept(site, 1)
    assert await client.metric(name) == before + (query != "title=%00")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (b'"scroll_depth":1e999', "left_out"),
        (b'"scroll_depth":' + b"9" * 400, "clamped"),
        (b'"engagement_ms":99999999999999999999999', "clamped"),
        (b'"revenue":{"amount":1e999,"currency":"EUR"}', "left_out"),
        (b'"revenue":{"amount":"1e999999999","currency":"EUR"}', "left_out"),
        (b'"revenue":{"amount":"' + b"9" * 10_000 + b'","currency":"EUR"}', "left_out"),
        (b'"revenue":{"amount":' + b"9" * 5_000 + b',"currency":"EUR"}', "left_out"),
        (b'"revenue":{"amount":"sNaN","currency":"EUR"}', "left_out"),
        (b'"props":{"k":1e999}', "left_out"),
        (b'"props":{"k":' + b"9" * 5_000 + b"}", "left_out"),
        (b'"props":{"k":' + b"9" * 2_000 + b"}", "cut"),
        (b'"props":{"k":[]}', "made_text"),
        (b'"props":{"k":' + b"[" * 100 + b"]" * 100 + b"}", "made_text"),
        (b'"props":{"a\\u0000b":1}', "left_out"),
        (b'"props":{' + b",".join(b'"k%d":1' % number for number in range(6_000)) + b"}", "left_out"),
        (b'"session_id":"a\\u0000b"', "left_out"),
        (b'"session_id":"a\\r\\nb"', "left_out"),
        (b'"user_id":"a\\nb"', "left_out"),
        (b'"user_id":' + b"9" * 5_000, "left_out"),
        (b'"user_id":42,"title":"cut\\ud83d"', "made_text"),
        (b'"event_id":"' + b"0" * 50_000 + b'"', "left_out"),
        (b'"sent_at":' + b"9" * 5_000, "left_out"),
        (b'"element":' + b"[" * 100 + b"]" * 100, "left_out"),
    ],
)
async def test_an_odd_value_of_a_side_field_costs_no_event(client: Client, fields: bytes, code: str) -> None:
    body = b'{"site":"odd.example","name":"x","url":"https://odd.example/",' + fields + b"}"

    for shape in (b"%s", b"[%s]"):
        reply = await client.send(shape % body)

        assert (reply.json["accepted"], reply.rejected) == (1, []), reply.body[:300]
        assert {warning["code"] for warning in reply.json["warnings"]} == {code}
        assert len(reply.body) < 20_000
