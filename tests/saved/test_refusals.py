"""What can not be relied on is not saved, and every refusal has its code."""

from __future__ import annotations

import pytest

from tests.saved.api import KINDS, QUESTION, SITE, TOKYO, Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


def nested(depth: int) -> list[object]:
    found: list[object] = ["is", "event:page", ["/"]]
    for _ in range(depth - 1):
        found = ["not", found]
    return found


PAGE = ["is", "event:page", ["/"]]


@pytest.mark.parametrize(
    ("kind", "changes", "code"),
    [
        *((kind, {"name": name}, "bad_name") for kind in KINDS for name in (" x", "a\x00b", "a\nb")),
        *((kind, {"name": name}, "bad_request") for kind in KINDS for name in ("", "x" * 121, 7)),
        *((kind, {"colour": "red"}, "unknown_key") for kind in KINDS),
        *((kind, {"site_id": None}, "bad_request") for kind in KINDS),
        *((kind, {"filters": filters}, code) for kind in ("goals", "segments") for filters, code in (
            ([["is", "event:pages", ["/"]]], "unknown_dimension"),
            ([["equals", "event:page", ["/"]]], "unknown_operator"),
            ([["is", "event:page", []]], "bad_filter"),
            ([["is", "event:page", [1]]], "bad_filter"),
            ([["matches", "event:page", ["("]]], "bad_pattern"),
            ([["matches", "event:page", ["x" * 501]]], "bad_filter"),
            ([["is", "event:page", ["x" * 2_049]]], "bad_filter"),
            ([["is", "event:goal", ["x"]]], None),
            ([["segment", "Phones"]], None),
            ([nested(9)], "bad_filter"),
            ([PAGE] * 65, "bad_filter"),
            ("x", "bad_request"),
        )),
        ("goals", {"event": "", "page": ""}, "bad_goal"),
        ("goals", {"event": "", "name": None, "filters": [PAGE]}, "bad_name"),
        ("goals", {"event": "x" * 121}, "bad_request"),
        ("goals", {"page": "x" * 2_049}, "bad_request"),
        ("goals", {"name": None, "event": "", "page": "/" + "x" * 120}, "bad_name"),
        ("goals", {"currency": "euro"}, "bad_request"),
        ("goals", {"page": "/blog/**", "scroll_depth": 90}, "bad_goal"),
        ("goals", {"event": None, "scroll_depth": 90}, "bad_goal"),
        ("goals", {"event": None, "scroll_depth": 90, "filters": [PAGE]}, "bad_goal"),
        *(("goals", {"event": None, "page": "/", "scroll_depth": depth}, "bad_request") for depth in (
            0, -1, 101, 1.5, "90", True)),
        ("goals", {"about": "x" * 1_001}, "bad_request"),
        ("segments", {"filters": []}, "bad_filter"),
        ("segments", {"name": None}, "bad_request"),
        ("annotations", {"date": None}, "bad_date_range"),
        ("annotations", {"date_range": ["2026-11-01", "2026-11-02"]}, "bad_date_range"),
        ("annotations", {"date": None, "date_range": ["2026-11-02", "2026-11-01"]}, "bad_date_range"),
        ("annotations", {"date": None, "date_range": ["2026-11-02"]}, "bad_request"),
        *(("annotations", {"date": date}, "bad_date_range") for date in (
            "yesterday", "2026-02-30", "1999-12-31", "2100-01-01", "9999-12-31", "2026-11-01T25:00", "7d", "\x00",
            "0001-01-01T00:00+23:59")),
        ("annotations", {"date": "x" * 65}, "bad_request"),
        ("annotations", {"text": " "}, "bad_request"),
        ("annotations", {"text": "a\x00b"}, "bad_request"),
        ("annotations", {"text": "x" * 1_001}, "bad_request"),
        ("queries", {"request": None}, "bad_request"),
        ("queries", {"sql": "SELECT 1"}, "bad_request"),
        ("queries", {"params": {}}, "bad_request"),
        ("queries", {"request": None, "sql": "SELECT 1", "params": {"x": 1}}, "bad_parameter"),
        ("queries", {"request": None, "sql": "SELECT {x:String}"}, "bad_parameter"),
        ("queries", {"request": None, "sql": "DROP TABLE saved"}, "sql_not_allowed"),
        ("queries", {"request": None, "sql": "SELECT * FROM tokens"}, None),
        ("queries", {"request": None, "sql": ""}, "bad_sql"),
        ("queries", {"request": {**QUESTION, "site_id": TOKYO}}, "bad_request"),
        ("queries", {"request": {}}, "bad_request"),
        ("queries", {"request": {**QUESTION, "metrics": ["x"]}}, "unknown_metric"),
        ("queries", {"request": {**QUESTION, "colour": 1}}, "unknown_key"),
        ("queries", {"request": {**QUESTION, "date_range": "3 days"}}, "bad_date_range"),
        ("queries", {"request": {**QUESTION, "filters": [["goal", "x"]]}}, "unknown_goal"),
        ("queries", {"request": {**QUESTION, "metrics": ["bounce_rate"], "dimensions": ["event:name"]}},
         "unsupported_combination"),
    ],
)  # fmt: skip
async def test_what_can_not_be_relied_on_is_not_saved(
    api: Api, kind: str, changes: dict[str, object], code: str | None
) -> None:
    found = await api.refusal(kind, **changes)

    assert found == (code or found)
    assert await api("GET", f"{kind}?site_id={SITE}") == (200, {kind: []})


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *((kind, {"name": "x" * 120}) for kind in KINDS),
        ("goals", {"event": "x" * 120, "page": "x" * 2_048, "about": "x" * 1_000}),
        ("goals", {"filters": [PAGE] * 64}),
        ("segments", {"filters": [nested(8)]}),
        ("segments", {"filters": [["is", "event:page", ["x" * 2_048]]]}),
        ("segments", {"filters": [["matches", "event:page", ["x" * 500]]]}),
        ("segments", {"filters": [["is", "event:page", ["\x00", "'; DROP TABLE saved; --", "👍"]]]}),
        ("queries", {"request": None, "sql": "SELECT {x:String} FROM events", "params": {"x": "y"}}),
        ("annotations", {"text": "x" * 1_000}),
        ("annotations", {"date": "2000-01-02"}),
        ("annotations", {"date": "2099-12-30"}),
    ],
)
async def test_what_lies_just_within_the_bounds_is_saved(api: Api, kind: str, changes: dict[str, object]) -> None:
    made = await api.make(kind, **changes)

    assert {key: made.get(key) for key in changes} == changes
    assert await api("GET", f"{kind}/{made['id']}") == (200, made)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b"[]", 400, "bad_request"),
        (b'{"name": "\\ud800"}', 400, "bad_json"),
        (b'{"filters": ' + b"[" * 100_000, 400, None),
        (b'{"filters": [1e999]}', 400, None),
        (b" " * 262_145, 413, "too_large"),
    ],
)
async def test_a_body_that_can_not_be_read_is_refused(
    api: Api, kind: str, data: bytes, status: int, code: str | None
) -> None:
    made = await api.make(kind)
    for method, path in (("POST", kind), ("PUT", f"{kind}/{made['id']}")):
        found, answer = await api(method, path, data=data)
        assert (found, answer["error"]["code"]) == (status, code or answer["error"]["code"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "bad_request"),
        ("?site_id=", 400, "bad_request"),
        ("?site_id=a.example&site_id=tokyo.example", 400, "bad_request"),
        ("?site=a.example", 400, "unknown_key"),
        ("?site_id=nowhere.example", 404, "unknown_site"),
    ],
)
async def test_a_list_is_one_site_s(api: Api, kind: str, query: str, status: int, code: str) -> None:
    found, answer = await api("GET", kind + query)

    assert (found, answer["error"]["code"]) == (status, code)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_thing_stays_with_its_site(api: Api, kind: str) -> None:
    made = await api.make(kind)

    status, answer = await api("PUT", f"{kind}/{made['id']}", {"site_id": TOKYO})
    assert (status, answer["error"]["code"]) == (400, "bad_request")
