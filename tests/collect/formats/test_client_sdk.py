"""The client library's calls: read as leniently as events sent to `/track`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.collect.formats.test_leniency import Warned, warned
from tests.collect.world import World, answered

VIEW = {"appName": "a.example", "pageUrl": "https://a.example/"}
CLIENT: list[tuple[str, dict[str, Any], dict[str, Any], Warned]] = [
    ("view", VIEW | {"userId": 42}, {"user_id": "42"}, [("user_id", "made_text")]),
    ("view", VIEW | {"sessionId": "s" * 65}, {}, [("session_id", "left_out")]),
    ("view", VIEW | {"props": {"tags": ["a"]}}, {"props": {"tags": '["a"]'}}, [("props.tags", "made_text")]),
    ("view", VIEW | {"pageTitle": {}, "screen": 5}, {"title": ""}, [("title", "left_out"), ("screen", "left_out")]),
    ("view", VIEW | {"eventId": "x", "sentAt": []}, {}, [("sent_at", "left_out"), ("event_id", "left_out")]),
    (
        "interaction",
        {"appName": "a.example", "type": "click", "data": {"elementId": 5, "scrollDepth": "40", "cart": [1]}},
        {"element_id": "5", "scroll_depth": 40, "props": {"cart": "[1]"}},
        [("scroll_depth", "made_number"), ("element.id", "made_text"), ("props.cart", "made_text")],
    ),
    (
        "interaction",
        {"appName": "a.example", "type": "form", "data": {"scrollDepth": 101, "engagementMs": True, "pageUrl": 5}},
        {"scroll_depth": 100, "engagement_ms": 0, "path": ""},
        [("url", "left_out"), ("engagement_ms", "left_out"), ("scroll_depth", "clamped")],
    ),
    ("interaction", {"appName": "a.example", "type": "x", "data": [1]}, {"props": None}, [("props", "left_out")]),
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
    ("kind", "call", "code"),
    [
        ("view", {"pageUrl": "https://a.example/"}, "missing_app_name"),
        ("view", {"appName": 5}, "bad_app_name"),
        ("view", {"appName": "a.example", "pageUrl": 5}, "bad_page_url"),
        ("view", {"appName": "a.example"}, "missing_url"),
        ("interaction", {"appName": "a.example", "data": [1]}, "missing_type"),
        ("interaction", {"appName": "a.example", "type": ""}, "bad_type"),
        ("interaction", {"type": "x", "userId": 5}, "missing_app_name"),
        ("view", {"appName": "a.example", "pageUrl": "https://a.example/", "timestamp": {}}, "bad_timestamp"),
    ],
)
async def test_the_client_library_s_rejections_name_its_own_fields(kind: str, call: dict[str, Any], code: str) -> None:
    for sent_as, body in ((kind, call), ("batch", {"events": [{"kind": kind, **call}]})):
        answer = answered(await World().send(body, kind=sent_as))

        assert [one["code"] for one in answer["rejected"]] == [code]
