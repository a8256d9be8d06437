"""The client library's calls: read as leniently as events sent to `/track`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.collect.formats.test_leniency import Warned, warned
from tests.collect.world import World, answered

VIEW = {"appName": "a.example", "pageUrl": "https://a.example/"}
CLIENT: list[tuple[str, dict[str, Any], dict[str, Any], Warned]] = [
    ("view", VIEW | {"userId": 42}, {"user_id": "42"}, [("userId", "made_text")]),
    ("view", VIEW | {"sessionId": "s" * 65}, {}, [("sessionId", "left_out")]),
    ("view", VIEW | {"props": {"tags": ["a"]}}, {"props": {"tags": '["a"]'}}, [("props.tags", "made_text")]),
    ("view", VIEW | {"pageTitle": {}, "screen": 5}, {"title": ""}, [("pageTitle", "left_out"), ("screen", "left_out")]),
    ("view", VIEW | {"eventId": "x", "sentAt": []}, {}, [("sentAt", "left_out"), ("eventId", "left_out")]),
    (
        "interaction",
        {"appName": "a.example", "type": "click", "data": {"elementId": 5, "scrollDepth": "40", "cart": [1]}},
        {"element_id": "5", "scroll_depth": 40, "props": {"cart": "[1]"}},
        [("data.scrollDepth", "made_number"), ("data.elementId", "made_text"), ("data.cart", "made_text")],
    ),
    (
        "interaction",
        {"appName": "a.example", "type": "form", "data": {"scrollDepth": 101, "engagementMs": True, "pageUrl": 5}},
        {"scroll_depth": 100, "engagement_ms": 0, "path": ""},
        [("data.pageUrl", "left_out"), ("data.engagementMs", "left_out"), ("data.scrollDepth", "clamped")],
    ),
    ("interaction", {"appName": "a.example", "type": "x", "data": [1]}, {"props": None}, [("data", "left_out")]),
    ("interaction", {"appName": "a.example", "type": "x", "data": None}, {"props": None}, []),
]


@pytest.mark.parametrize(("kind", "call", "kept", "warnings"), CLIENT, ids=[str(case[1])[:60] for case in CLIENT])
async def test_the_client_library_s_calls_are_read_alike(
    kind: str, call: dict[str, Any], kept: dict[str, Any], warnings: Warned
) -> None:
    for sent_as, body in ((kind, call), ("batch", {"events": [{"kind": kind, **call}]})):
        world = World()
        answer = answered(await world.send(body, kind=sent_as))

        assert (answer["accepted"], answer["rejected"], warned(answer)) == (1, [], warnings)
        (event,) = world.events
        assert {name: event[name] for name in kept} == kept


@pytest.mark.parametrize(
    ("kind", "call", "code", "message"),
    [
        ("view", {"pageUrl": "https://a.example/"}, "missing_app_name", "The event has no appName."),
        ("view", {"appName": 5}, "bad_app_name", "appName must be a text"),
        ("view", {"appName": "a b", "pageUrl": "https://a.example/"}, "bad_app_name", "appName must be a name such as"),
        ("view", {"appName": "a.example", "pageUrl": 5}, "bad_page_url", "pageUrl must be a text"),
        (
            "view",
            {"appName": "a.example", "pageUrl": "ftp://a.example/"},
            "bad_page_url",
            "pageUrl must be an absolute",
        ),
        ("view", {"appName": "a.example", "pageUrl": "app:///a"}, "bad_page_url", "pageUrl is the page of an app"),
        ("view", {"appName": "a.example"}, "missing_page_url", "A pageview needs a pageUrl."),
        ("interaction", {"appName": "a.example", "type": "pageview"}, "missing_page_url", "needs a data.pageUrl."),
        ("interaction", {"appName": "a.example", "data": [1]}, "missing_type", "The event has no type."),
        ("interaction", {"appName": "a.example", "type": ""}, "bad_type", "type must be a text"),
        ("interaction", {"appName": "a.example", "type": "x" * 121}, "bad_type", "type must be at most 120"),
        ("interaction", {"type": "x", "userId": 5}, "missing_app_name", "The event has no appName."),
        ("view", {**VIEW, "timestamp": {}}, "bad_timestamp", "timestamp must be"),
        ("view", {**VIEW, "timestamp": "then"}, "bad_timestamp", "timestamp must be"),
    ],
)
async def test_the_client_library_s_rejections_name_its_own_fields(
    kind: str, call: dict[str, Any], code: str, message: str
) -> None:
    for sent_as, body in ((kind, call), ("batch", {"events": [{"kind": kind, **call}]})):
        world = World()
        answer = answered(await world.send(body, kind=sent_as))

        assert [one["code"] for one in answer["rejected"]] == [code]
        assert message in answer["rejected"][0]["message"]
        assert [reason for _, _, reason, *_ in world.noted] == [code], "what the site's owner is told"


async def test_each_event_of_a_batch_has_the_names_of_its_kind() -> None:
    interaction = {"kind": "interaction", "appName": "a.example", "type": "x", "userId": "u" * 257, "data": {"k": []}}
    body = {"events": [5, {"kind": "view", **VIEW, "userId": 1, "props": {"k": []}}, interaction], "sentAt": "then"}
    answer = answered(await World().send(body, kind="batch"))

    assert [(one["index"], one["field"]) for one in answer["warnings"]] == [
        (0, "sent_at"),
        (1, "userId"),
        (1, "props.k"),
        (2, "data.k"),
        (2, "userId"),
    ]
    assert answered(await World().send({"events": [], "sent_at": {}}, kind="batch"))["warnings"] == [
        {"index": 0, "field": "sent_at", "code": "left_out"}
    ]
