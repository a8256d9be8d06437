"""What is refused, with which code, just below and just above each bound."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from analytics_server.analyses.funnels.definition import (
    MAX_CONDITIONS,
    MAX_EXCLUSIONS,
    MAX_HAS_DONE,
    MAX_LISTED,
    MAX_STEPS,
    MAX_VALUES,
    DrillRequest,
    FunnelBody,
    FunnelRequest,
    check_funnel,
    find_breakdown,
    refuse_parts,
)
from analytics_server.analyses.funnels.materialized.facts import make_facts
from analytics_server.errors import RequestError
from analytics_server.query.language.request import decode_request
from analytics_server.query.language.saved_filters import SiteLibrary

LIBRARY = SiteLibrary(None, "a.example")
TWO: list[dict[str, Any]] = [{"name": "a"}, {"name": "b"}]


def check(**parts: Any) -> None:
    check_funnel(msgspec.convert({"steps": TWO} | parts, FunnelBody), LIBRARY)


@pytest.mark.parametrize(
    ("code", "good", "bad"),
    [
        ("bad_funnel", {"steps": TWO}, {"steps": TWO[:1]}),
        ("bad_funnel", {"steps": TWO * (MAX_STEPS // 2)}, {"steps": [*TWO * (MAX_STEPS // 2), TWO[0]]}),
        ("bad_funnel", {"exclude": TWO[:1] * MAX_EXCLUSIONS}, {"exclude": TWO[:1] * (MAX_EXCLUSIONS + 1)}),
        ("bad_step", {"steps": [{"name": "a"}, {"event": "b"}]}, {"steps": [{"name": "a"}, {}]}),
        ("bad_step", {"exclude": [{"name": "x"}]}, {"exclude": [{"after": 1}]}),
        ("bad_window", {"window": 1}, {"window": 0}),
        ("bad_window", {"window": 90 * 86_400}, {"window": 90 * 86_400 + 1}),
        ("bad_window", {"window": "90d"}, {"window": "91d"}),
        ("bad_window", {"window": "1s"}, {"window": "1 fortnight"}),
        ("bad_exclusion", {"steps": TWO * 2, "exclude": [{"name": "x", "after": 3, "before": 4}]},
         {"steps": TWO * 2, "exclude": [{"name": "x", "after": 4}]}),
        ("bad_exclusion", {"exclude": [{"name": "x", "before": 2}]}, {"exclude": [{"name": "x", "before": 3}]}),
        ("bad_exclusion", {"steps": TWO * 2, "exclude": [{"name": "x", "after": 2, "before": 3}]},
         {"steps": TWO * 2, "exclude": [{"name": "x", "after": 2, "before": 2}]}),
        ("bad_exclusion", {"steps": TWO * 2, "order": "any", "exclude": [{"name": "x"}]},
         {"steps": TWO * 2, "order": "any", "exclude": [{"name": "x", "after": 2}]}),
        ("unknown_goal", {}, {"steps": [{"goal": "none"}, TWO[0]]}),
    ],
)  # fmt: skip
def test_bounds(code: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    check(**good)
    with pytest.raises(RequestError) as refused:
        check(**bad)
    assert refused.value.code == code


def test_comparisons_of_all_parts_are_counted_together() -> None:
    page = ["is", "event:page", ["/"]]
    # Each step compares its name, too.
    steps = [{"event": "a", "filters": [page] * 49} for _ in range(4)]
    check(steps=steps)
    assert MAX_CONDITIONS == 200
    with pytest.raises(RequestError, match="200 comparisons") as refused:
        check(steps=steps, filters=[page])
    assert refused.value.code == "bad_funnel"


def test_has_done_is_bounded() -> None:
    done = ["has_done", ["is", "event:name", ["x"]]]
    steps = [{"event": "a", "filters": [done]} for _ in range(MAX_HAS_DONE)]
    check(steps=steps)
    with pytest.raises(RequestError, match="has_done"):
        check(steps=steps, filters=[done])


@pytest.mark.parametrize("name", ["time:day", "time", "event:goal"])
def test_a_breakdown_has_one_value_for_each_event(name: str) -> None:
    find_breakdown("visit:source")
    with pytest.raises(RequestError) as refused:
        find_breakdown(name)
    assert refused.value.code == "unsupported_dimension"


ASKED: dict[str, Any] = {"site_id": "a.example", "date_range": "7d", "steps": TWO}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"colour": 1}, "unknown_key"),
        ({"limit": 0}, "bad_request"),
        ({"limit": MAX_VALUES + 1}, "bad_request"),
        ({"order": "loose"}, "bad_request"),
        ({"by": "device"}, "bad_request"),
        ({"window": True}, "bad_request"),
        ({"window": 1.5}, "bad_request"),
        ({"steps": [{"name": "x" * 121}, TWO[0]]}, "bad_request"),
        ({"steps": [{"name": "x", "colour": 1}, TWO[0]]}, "unknown_key"),
        ({"exclude": [{"name": "x", "after": 0}]}, "bad_request"),
        ({"exclude": [{"name": "x", "before": 1}]}, "bad_request"),
        ({"funnel": ""}, "bad_request"),
        ({"site_id": ""}, "bad_request"),
    ],
)
def test_requests_are_decoded_strictly(change: dict[str, Any], code: str) -> None:
    decode_request(msgspec.json.encode(ASKED | {"limit": MAX_VALUES}), FunnelRequest)
    with pytest.raises(RequestError) as refused:
        decode_request(msgspec.json.encode(ASKED | change), FunnelRequest)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "drill",
    [
        {"step": 0},
        {"step": 21},
        {"step": 1, "limit": 0},
        {"step": 1, "limit": MAX_LISTED + 1},
        {"step": 1, "offset": -1},
        {},
    ],
)
def test_drills_are_bounded(drill: dict[str, Any]) -> None:
    decode_request(msgspec.json.encode(ASKED | {"drill": {"step": 20, "limit": MAX_LISTED}}), DrillRequest)
    with pytest.raises(RequestError):
        decode_request(msgspec.json.encode(ASKED | {"drill": drill}), DrillRequest)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"site_id":"\xff"}', b"", b"[]", b"null", b'{"site_id":"\\ud800"}'])
def test_what_is_no_request_is_a_request_error(body: bytes) -> None:
    with pytest.raises(RequestError):
        decode_request(body, FunnelRequest)


def test_a_named_funnel_has_its_own_steps() -> None:
    asked = msgspec.convert(ASKED | {"funnel": "x"}, FunnelRequest)
    with pytest.raises(RequestError) as refused:
        refuse_parts(asked)
    assert refused.value.code == "bad_funnel"


@pytest.mark.parametrize(
    "condition",
    [["is", "visit:entry_page", ["/"]], ["has_done", ["is", "event:name", ["x"]]], ["is_not", "visit:exit_page", [""]]],
)
def test_what_only_a_whole_session_knows_cannot_be_saved(condition: list[Any]) -> None:
    funnel = check_funnel(msgspec.convert({"steps": TWO, "filters": [condition]}, FunnelBody), LIBRARY)
    with pytest.raises(RequestError) as refused:
        make_facts("0", "a.example", funnel)
    assert refused.value.code == "bad_funnel"


def test_another_meaning_is_another_table() -> None:
    def table(**parts: Any) -> str:
        body = msgspec.convert({"steps": TWO} | parts, FunnelBody)
        return make_facts("abc", "a.example", check_funnel(body, LIBRARY)).table

    assert table() == table()
    others = {
        table(window=60),
        table(order="strict"),
        table(by="user"),
        table(exclude=[{"name": "x"}]),
        table(exclude=[{"name": "x", "before": 2}]),
        table(filters=[["is", "visit:source", ["x"]]]),
        table(steps=[*TWO, TWO[0]]),
    }
    assert len(others | {table()}) == 8
    assert table(steps=[{"name": "First", "event": "a"}, {"name": "Second", "event": "b"}]) == table()
