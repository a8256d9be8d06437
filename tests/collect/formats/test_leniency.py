"""A fault in a side field never costs the event: what is stored instead, and what the answer says."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.formats.leniency import plain_decimal
from analytics_server.collect.formats.warnings import FIELD_CHARS, WarningCode
from tests.collect.formats.test_native import JSON_VALUES
from tests.collect.world import NOON, World, answered

CLICK = {"site": "a.example", "name": "click", "url": "https://a.example/p"}
ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
Warned = list[tuple[str, str]]


def warned(answer: dict[str, Any], index: int = 0) -> Warned:
    return [(one["field"], one["code"]) for one in answer.get("warnings", []) if one["index"] == index]


MENDED: list[tuple[dict[str, Any], dict[str, Any], Warned]] = [
    ({"user_id": 42}, {"user_id": "42"}, [("user_id", "made_text")]),
    ({"user_id": 12345678901234567890123}, {"user_id": "12345678901234567890123"}, [("user_id", "made_text")]),
    ({"user_id": True}, {"user_id": "true"}, [("user_id", "made_text")]),
    ({"user_id": 1.5}, {"user_id": "1.5"}, [("user_id", "made_text")]),
    ({"user_id": 42.0}, {"user_id": "42"}, [("user_id", "made_text")]),
    ({"user_id": 0}, {"user_id": "0"}, [("user_id", "made_text")]),
    ({"user_id": None}, {"user_id": ""}, []),
    ({"user_id": "u" * 256}, {"user_id": "u" * 256}, []),
    ({"user_id": "u" * 257}, {"user_id": ""}, [("user_id", "left_out")]),
    ({"user_id": "a\nb"}, {"user_id": ""}, [("user_id", "left_out")]),
    ({"user_id": {"id": 1}}, {"user_id": ""}, [("user_id", "left_out")]),
    ({"session_id": 7}, {"session_id": "7"}, [("session_id", "made_text")]),
    ({"session_id": "s" * 64}, {"session_id": "s" * 64}, []),
    ({"session_id": "s" * 65}, {"session_id": "s0000000000000001"}, [("session_id", "left_out")]),
    ({"session_id": ["s"]}, {"session_id": "s0000000000000001"}, [("session_id", "left_out")]),
    ({"title": 404}, {"title": "404"}, [("title", "made_text")]),
    ({"title": {"en": "Home"}}, {"title": ""}, [("title", "left_out")]),
    ({"title": ["Home"]}, {"title": ""}, [("title", "left_out")]),
    ({"referrer": 5}, {"referrer": ""}, [("referrer", "made_text")]),
    ({"referrer": {}}, {"referrer": "", "channel": "Direct"}, [("referrer", "left_out")]),
    ({"language": "en_US"}, {"language": "en-US"}, []),
    ({"language": ["de"]}, {"language": ""}, [("language", "left_out")]),
    ({"event_id": "no uuid"}, {}, [("event_id", "left_out")]),
    ({"event_id": ""}, {}, [("event_id", "left_out")]),
    ({"event_id": 7}, {}, [("event_id", "left_out")]),
    ({"scroll_depth": 100}, {"scroll_depth": 100}, []),
    ({"scroll_depth": 101}, {"scroll_depth": 100}, [("scroll_depth", "clamped")]),
    ({"scroll_depth": 100.4}, {"scroll_depth": 100}, [("scroll_depth", "clamped")]),
    ({"scroll_depth": -1}, {"scroll_depth": 0}, [("scroll_depth", "left_out")]),
    ({"scroll_depth": "75"}, {"scroll_depth": 75}, [("scroll_depth", "made_number")]),
    ({"scroll_depth": "33,5"}, {"scroll_depth": 34}, [("scroll_depth", "made_number")]),
    ({"scroll_depth": "deep"}, {"scroll_depth": 0}, [("scroll_depth", "left_out")]),
    ({"scroll_depth": True}, {"scroll_depth": 0}, [("scroll_depth", "left_out")]),
    ({"scroll_depth": [75]}, {"scroll_depth": 0}, [("scroll_depth", "left_out")]),
    ({"engagement_ms": 86_400_000}, {"engagement_ms": 86_400_000}, []),
    ({"engagement_ms": 86_400_001}, {"engagement_ms": 86_400_000}, [("engagement_ms", "clamped")]),
    ({"engagement_ms": "1200"}, {"engagement_ms": 1_200}, [("engagement_ms", "made_number")]),
    ({"engagement_ms": -5}, {"engagement_ms": 0}, [("engagement_ms", "left_out")]),
    ({"screen": {"width": "800", "height": 600}}, {"screen": "800x600"}, [("screen.width", "made_number")]),
    ({"screen": {"width": "wide", "height": 600}}, {"screen": ""}, [("screen.width", "left_out")]),
    ({"screen": "800x600"}, {"screen": ""}, [("screen", "left_out")]),
    (
        {"element": {"id": 5, "text": {}}},
        {"element_id": "5"},
        [("element.id", "made_text"), ("element.text", "left_out")],
    ),
    ({"element": "button"}, {"element_id": "", "element_tag": ""}, [("element", "left_out")]),
    (
        {"experiment": {"id": "cta", "variant": 1}},
        {"experiment": "cta", "variant": "1"},
        [("experiment.variant", "made_text")],
    ),
    ({"experiment": {"id": "cta"}}, {"experiment": "", "variant": ""}, [("experiment", "left_out")]),
    ({"experiment": {"id": "cta", "variant": ""}}, {"experiment": "", "variant": ""}, [("experiment", "left_out")]),
    ({"experiment": "cta"}, {"experiment": "", "variant": ""}, [("experiment", "left_out")]),
    (
        {"revenue": {"amount": "99,00", "currency": "EUR"}},
        {"revenue_amount": "99.0000", "revenue_currency": "EUR"},
        [("revenue.amount", "made_number")],
    ),
    (
        {"revenue": {"amount": "1.234,50", "currency": "EUR"}},
        {"revenue_amount": "1234.5000"},
        [("revenue.amount", "made_number")],
    ),
    ({"revenue": {"amount": 5, "currency": " eur "}}, {"revenue_currency": "EUR"}, []),
    ({"revenue": {"amount": "1,234", "currency": "EUR"}}, {"revenue_currency": ""}, [("revenue", "left_out")]),
    ({"revenue": {"amount": "dear", "currency": "EUR"}}, {"revenue_currency": ""}, [("revenue", "left_out")]),
    ({"revenue": {"amount": True, "currency": "EUR"}}, {"revenue_currency": ""}, [("revenue", "left_out")]),
    ({"revenue": {"amount": 5, "currency": "EURO"}}, {"revenue_currency": ""}, [("revenue", "left_out")]),
    ({"revenue": {"amount": 5, "currency": 978}}, {"revenue_currency": ""}, [("revenue", "left_out")]),
    ({"revenue": {"amount": 5}}, {"revenue_currency": ""}, [("revenue", "left_out")]),
    ({"revenue": {"amount": 1e13, "currency": "EUR"}}, {"revenue_currency": ""}, [("revenue", "left_out")]),
    ({"revenue": 12.5}, {"revenue_currency": ""}, [("revenue", "left_out")]),
    (
        {"props": {"plan": "pro", "tags": ["a", "b"]}},
        {"props": {"plan": "pro", "tags": '["a","b"]'}},
        [("props.tags", "made_text")],
    ),
    ({"props": {"cart": {"n": [1, None]}}}, {"props": {"cart": '{"n":[1,null]}'}}, [("props.cart", "made_text")]),
    ({"props": {"k": []}}, {"props": {"k": "[]"}}, [("props.k", "made_text")]),
    ({"props": {"k": "ü" * 1_024}}, {"props": {"k": "ü" * 1_024}}, []),
    ({"props": {"k": "ü" * 1_025}}, {"props": {"k": "ü" * 1_024}}, [("props.k", "cut")]),
    (
        {"props": {"k": ["v" * 1_024]}},
        {"props": {"k": '["' + "v" * 1_022}},
        [("props.k", "made_text"), ("props.k", "cut")],
    ),
    ({"props": {"k" * 64: 1, "l": 2}}, {"props": {"k" * 64: "1", "l": "2"}}, []),
    ({"props": {"k" * 65: 1, "l": 2}}, {"props": {"l": "2"}}, [("props." + "k" * 65, "left_out")]),
    ({"props": {"": 1, "l": 2}}, {"props": {"l": "2"}}, [("props.", "left_out")]),
    ({"props": {"a\x00b": 1}}, {"props": {}}, [("props.a\x00b", "left_out")]),
    ({"props": [1]}, {"props": None}, [("props", "left_out")]),
    ({"props": "plan=pro"}, {"props": None}, [("props", "left_out")]),
    ({"sent_at": {}}, {}, [("sent_at", "left_out")]),
    ({"sent_at": "soon"}, {}, [("sent_at", "left_out")]),
    ({"sent_at": True}, {}, [("sent_at", "left_out")]),
    ({"sent_at": NOON * 1000}, {"ts": int(NOON * 1_000_000)}, []),
    ({"ip": 5, "user_agent": []}, {}, [("ip", "made_text"), ("user_agent", "left_out")]),
]


@pytest.mark.parametrize(("fields", "kept", "warnings"), MENDED, ids=[str(case[0])[:60] for case in MENDED])
async def test_the_event_is_kept_and_the_answer_says_what_became_of_the_field(
    fields: dict[str, Any], kept: dict[str, Any], warnings: Warned
) -> None:
    world = World()
    answer = answered(await world.send(CLICK | fields))

    assert (answer["accepted"], answer["rejected"], warned(answer)) == (1, [], warnings)
    assert ("warnings" in answer) == bool(warnings)
    (event,) = world.events
    assert {name: event[name] for name in kept} == kept


@pytest.mark.parametrize(
    ("count", "excess"), [(50, []), (51, ["props.k50"]), (53, ["props.k50", "props.k51", "props.k52"])]
)
async def test_the_first_fifty_properties_are_kept(count: int, excess: list[str]) -> None:
    world = World()
    answer = answered(await world.send(CLICK | {"props": {f"k{number}": number for number in range(count)}}))

    assert warned(answer) == [(field, "left_out") for field in excess]
    assert world.events[0]["props"] == {f"k{number}": str(number) for number in range(50)}


async def test_properties_without_a_value_take_nobody_s_place() -> None:
    world = World()
    empty = {f"e{number}": None for number in range(30)}
    answer = answered(await world.send(CLICK | {"props": {**empty, **{f"k{number}": 1 for number in range(50)}}}))

    assert "warnings" not in answer
    assert len(world.events[0]["props"]) == 50


SIDE_FIELDS = (
    *("referrer", "title", "event_id", "session_id", "user_id", "sent_at", "screen", "language", "scroll_depth"),
    *("engagement_ms", "element", "revenue", "experiment", "props", "ip", "user_agent"),
)
INSIDE = ("width", "height", "id", "tag", "text", "href", "amount", "currency", "variant")
SHAPES = st.sampled_from(["%s", "[%s]", '{"events":[%s]}'])
ODD = JSON_VALUES | st.dictionaries(st.sampled_from(INSIDE), JSON_VALUES, max_size=4) | st.text(max_size=300)


@given(
    fields=st.dictionaries(st.sampled_from(SIDE_FIELDS), ODD, max_size=5),
    trusted=st.booleans(),
    late=st.booleans(),
    shape=SHAPES,
)
async def test_any_value_of_any_side_field_leaves_exactly_one_row(
    fields: dict[str, Any], trusted: bool, late: bool, shape: str
) -> None:
    # Standard JSON: what no number can hold stands there as a number all the same.
    body = json.dumps(CLICK | ({"timestamp": NOON * 1000 - 5} if late else {}) | fields)
    body = body.replace("-Infinity", "-1e999").replace("Infinity", "1e999").replace("NaN", "null")
    world = World(drop_bots=False)
    reply = await world.send((shape % body).encode(), token="collect" if trusted else "")

    assert reply.status == 202, reply.body
    assert answered(reply)["accepted"] == 1, reply.body
    assert len(world.events) == 1
    assert {one["code"] for one in answered(reply).get("warnings", [])} <= {code.value for code in WarningCode}


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"name": "x"}, "missing_site"),
        ({"site": "a.example"}, "missing_name"),
        ({"site": 5, "name": "x"}, "bad_site"),
        ({"site": "a.example", "name": 7}, "bad_name"),
        ({"site": "a.example", "name": ""}, "bad_name"),
        ({"site": "a.example", "name": "pageview"}, "missing_url"),
        ({"site": "a.example", "name": "pageview", "url": 5}, "bad_url"),
        ({"site": "a.example", "name": "exposure", "experiment": {"id": "a"}}, "missing_experiment"),
        ({"site": "a.example", "name": "exposure", "experiment": {"id": "a", "variant": ""}}, "bad_experiment"),
        ({"site": "a.example", "name": "x", "timestamp": "soon"}, "bad_timestamp"),
        ({"site": "a.example", "name": "x", "timestamp": []}, "bad_timestamp"),
        ({"site": "a.example", "name": "x", "timestamp": True}, "bad_timestamp"),
    ],
)
async def test_what_makes_the_event_meaningless_is_rejected_whatever_else_is_wrong(
    event: dict[str, Any], code: str
) -> None:
    for fields in ({}, {"user_id": 42}):
        world = World()
        answer = answered(await world.send({**fields, **event}))

        assert [(one["index"], one["code"]) for one in answer["rejected"]] == [(0, code)]
        assert world.events == []


async def test_an_event_with_another_type_of_url_is_kept_without_one() -> None:
    world = World()
    answer = answered(await world.send(CLICK | {"url": 5}))

    assert warned(answer) == [("url", "left_out")]
    assert world.events[0]["path"] == ""


async def test_numbers_beyond_all_types_spare_the_event_and_its_other_fields() -> None:
    body = (
        '{"site":"a.example","name":"x","user_id":7,"title":"cut\\ud83d","scroll_depth":1e999,"props":{"k":%s,"l":%s}}'
    )
    for shape in ("%s", "[%s]"):
        world = World()
        answer = answered(await world.send((shape % body % ("9" * 5_000, "9" * 4_000)).encode()))

        assert warned(answer) == [
            *(("user_id", "made_text"), ("scroll_depth", "left_out")),
            *(("props.k", "left_out"), ("props.l", "cut")),
        ]
        (event,) = world.events
        assert (event["user_id"], event["title"], event["props"]) == ("7", "cut\ufffd", {"l": "9" * 1_024})


async def test_each_warning_names_its_event() -> None:
    world = World()
    answer = answered(
        await world.send([CLICK, CLICK | {"user_id": 1}, CLICK | {"name": ""}, CLICK | {"scroll_depth": 200}])
    )

    assert answer["accepted"] == 3
    assert answer["warnings"] == [
        {"index": 1, "field": "user_id", "code": "made_text"},
        {"index": 3, "field": "scroll_depth", "code": "clamped"},
    ]


@pytest.mark.parametrize(("count", "more"), [(99, 0), (100, 0), (101, 1), (250, 150)])
async def test_an_answer_holds_a_hundred_warnings_and_counts_the_rest(count: int, more: int) -> None:
    world = World()
    answer = answered(await world.send([CLICK | {"user_id": number} for number in range(count)]))

    assert [one["index"] for one in answer["warnings"]] == list(range(min(count, 100)))
    assert answer.get("more_warnings", 0) == more
    assert world.sample("ingest_warnings_total", code="made_text") == count
    assert world.sample("ingest_warnings_total", code="clamped") == 0


@pytest.mark.parametrize("entries", [0, 1, 2, 3])
async def test_how_many_is_a_setting(entries: int) -> None:
    answer = answered(await World(warnings=entries).send(CLICK | {"scroll_depth": 200, "user_id": 1}))

    assert len(answer.get("warnings", [])) == min(entries, 2)
    assert answer.get("more_warnings", 0) == max(0, 2 - entries)


async def test_the_name_of_a_field_is_bounded_in_the_answer() -> None:
    answer = answered(await World().send(CLICK | {"props": {"k" * 10_000: 1}}))

    assert [len(one["field"]) for one in answer["warnings"]] == [FIELD_CHARS]


async def test_a_repeated_event_is_counted_once_and_warned_of_again() -> None:
    world = World()
    event = CLICK | {"event_id": ID, "user_id": 42}
    answers = [answered(await world.send(event)) for _ in range(2)]

    assert [(answer["accepted"], warned(answer)) for answer in answers] == [(1, [("user_id", "made_text")])] * 2
    assert len(world.events) == 1


async def test_ids_that_are_too_long_make_no_two_people_one() -> None:
    world = World()
    for last in ("a", "b", "a"):
        await world.send(CLICK | {"user_id": "u" * 256 + last}, token="collect")

    visitors = [event["visitor_id"] for event in world.events]
    assert visitors[0] == visitors[2] != visitors[1]


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("75", "75"),
        (" 75 ", "75"),
        ("+7.5", "+7.5"),
        ("99,00", "99.00"),
        ("-99,5", "-99.5"),
        ("\u221299,5", "-99.5"),
        (",5", "0.5"),
        (".5", "0.5"),
        ("-5.", "-5.0"),
        (".", None),
        ("1e3", "1e3"),
        ("0,123", "0.123"),
        ("1234,567", "1234.567"),
        ("1.234", "1.234"),
        ("1.234,50", "1234.50"),
        ("1,234.50", "1234.50"),
        ("1.234.567,5", "1234567.5"),
        ("1,234,567", "1234567.0"),
        ("1.234.567", "1234567.0"),
        ("1 234,50", "1234.50"),
        ("1\u00a0234\u202f567", None),
        ("1\u202f234,50", "1234.50"),
        ("1'234.50", "1234.50"),
        ("1\u2019234", "1234.0"),
        ("1,234", None),
        ("1,23,456", None),
        ("1.23.456", None),
        ("1,234,5", None),
        ("1.234.5", None),
        ("1,2,3", None),
        ("", None),
        ("-", None),
        ("$5", None),
        ("12 EUR", None),
        ("NaN", None),
        ("Infinity", None),
        ("0x10", None),
        ("1_000", None),
        ("\u0661\u0662", None),
        ("9" * 41, None),
    ],
)
def test_decimals_as_people_write_them(text: str, decimal: str | None) -> None:
    assert plain_decimal(text) == decimal


async def test_an_event_with_every_key_of_an_envelope_is_one_event() -> None:
    world = World()
    answer = answered(await world.send(CLICK | {"user_id": 5, "events": [CLICK, CLICK]}))

    assert (answer["accepted"], warned(answer)) == (1, [("user_id", "made_text")])


async def test_a_large_batch_of_faults_lets_other_requests_be_taken_meanwhile() -> None:
    world = World()
    batch = asyncio.create_task(world.send([CLICK | {"user_id": 1, "props": {"a": [1]}}] * 5_000, token="collect"))
    turns = 0
    while not batch.done():
        assert (await world.send(CLICK)).status == 202
        turns += 1
        await asyncio.sleep(0)

    assert turns > 10
    assert answered(batch.result())["accepted"] == 5_000
    assert world.sample("ingest_warnings_total", code="made_text") == 10_000
