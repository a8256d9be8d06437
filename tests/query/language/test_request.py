"""Requests are read strictly, and each refusal says where the fault is and what is right."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.errors import RequestError
from analytics_server.query.language.request import MAX_ORDERS, QueryRequest, check_request, decode_request
from tests.query.questions import body, request


def refusal(raw: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        check_request(decode_request(raw, QueryRequest), max_rows=1_000)
    return caught.value


def nested(depth: int) -> Any:
    item: Any = ["is", "event:page", ["/"]]
    for _ in range(depth):
        item = ["not", item]
    return item


@pytest.mark.parametrize(
    ("parts", "code", "said"),
    [
        ({"metrics": []}, "bad_request", "metrics is empty"),
        ({"metrics": ["visitor"]}, "unknown_metric", "Did you mean 'visitors'"),
        ({"metrics": ["visits", "sessions"]}, "bad_request", "'sessions' twice"),
        ({"metrics": "visitors"}, "bad_request", "$.metrics"),
        ({"metrics": ["conversion_rates"]}, "unknown_metric", "Did you mean 'conversion_rate'"),
        ({"metrics": ["conversion_rate"]}, "unsupported_combination", "conversion_rate needs a goal"),
        ({"metrics": ["visitors", "group_conversion_rate"]}, "unsupported_combination", "group_conversion_rate needs"),
        ({"dimensions": ["event:pages"]}, "unknown_dimension", "Did you mean 'event:page'"),
        ({"dimensions": ["session"]}, "unknown_dimension", "session"),
        ({"dimensions": ["event:props:"]}, "unknown_dimension", "1 to 120"),
        ({"dimensions": ["event:props:" + "x" * 121]}, "unknown_dimension", "1 to 120"),
        ({"dimensions": ["event:props:*; DROP TABLE events", "x"]}, "unknown_dimension", "'x'"),
        ({"dimensions": ["time:day", "time"]}, "bad_request", "one time dimension"),
        ({"dimensions": ["visit:source"] * 2}, "bad_request", "twice"),
        ({"dimension": ["visit:source"]}, "unknown_key", "Did you mean 'dimensions'"),
        ({"include": {"totals": True}}, "unknown_key", "in include"),
        ({"include": {"comparison": "last_week"}}, "bad_request", "$.include.comparison"),
        ({"include": {"time_labels": True}}, "bad_request", "time dimension"),
        ({"pagination": {"limit": 0}}, "bad_request", "$.pagination.limit"),
        ({"pagination": {"limit": 1_001}}, "bad_pagination", "1000 at most"),
        ({"pagination": {"offset": -1}}, "bad_request", "$.pagination.offset"),
        ({"order_by": [["pageviews", "desc"]]}, "bad_order", "order_by[0]"),
        ({"order_by": [["visitors", "down"]]}, "bad_request", "$.order_by"),
        ({"order_by": [["visitors", "asc"]] * (MAX_ORDERS + 1)}, "bad_request", "$.order_by"),
        ({"date_range": ["2025-01-01"]}, "bad_request", "$.date_range"),
        ({"exact": "yes"}, "bad_request", "$.exact"),
        ({"site_id": ""}, "bad_request", "$.site_id"),
        ({"filters": [["has_done"]]}, "bad_filter", "has_done"),
        ({"filters": [["has_done", "event:name", ["x"]]]}, "bad_filter", "has_done"),
        ({"filters": [["has_done", ["is", "event:name", ["x"]]]] * 9}, "bad_filter", "8 times"),
        ({"filters": [["segment", "x"]]}, "bad_filter", "saved"),
        ({"filters": [["equals", "event:page", ["/"]]]}, "unknown_operator", "filters[0]"),
        ({"filters": [["matches_wildcards", "event:page", ["/"]]]}, "unknown_operator", "'matches_wildcard'"),
        ({"filters": [["is", "event:goal", ["Signup"]]]}, "bad_filter", "a goal"),
        ({"filters": [["is", "time:day", ["2025-01-01"]]]}, "bad_filter", "date_range"),
        ({"filters": ["is"]}, "bad_filter", "filters[0]"),
        ({"filters": [[]]}, "bad_filter", "filters[0]"),
        ({"filters": [["and", []]]}, "bad_filter", "at least one"),
        ({"filters": [["not"]]}, "bad_filter", "not"),
        ({"filters": [["and", [["or", [["is", "event:page", "/"]]]]]]}, "bad_filter", "filters[0][1][0][1][0]"),
        ({"filters": [["is", "event:page", []]]}, "bad_filter", "1 to 1000"),
        ({"filters": [["is", "event:page", ["/"] * 1_001]]}, "bad_filter", "1 to 1000"),
        ({"filters": [["is", "event:props:n", [3]]]}, "bad_filter", "texts only"),
        ({"filters": [["contains", "event:page", [""]]]}, "bad_filter", "empty text"),
        ({"filters": [["contains", "event:page", ["a"], {"case": False}]]}, "bad_filter", "case_sensitive"),
        ({"filters": [["matches", "event:page", ["a"], {"case_sensitive": False}]]}, "bad_filter", "(?i)"),
        ({"filters": [["matches", "event:page", ["a" * 501]]]}, "bad_filter", "500 characters"),
        ({"filters": [["matches", "event:page", ["a"] * 21]]}, "bad_filter", "1 to 20"),
        ({"filters": [["is", "event:page", ["/"]]] * 65}, "bad_filter", "64 filters"),
        ({"filters": [nested(8)]}, "bad_filter", "8 deep"),
    ],
)
def test_refuses_and_says_why(parts: dict[str, Any], code: str, said: str) -> None:
    error = refusal(body(**parts))
    assert (error.code, error.status) == (code, 400)
    assert said in error.message


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b"[" * 100_000, b'{"site_id":' * 50_000, b'{"site_id":"\\ud800"}'],
)
def test_refuses_what_is_no_query(raw: bytes) -> None:
    assert refusal(raw).code in ("bad_json", "bad_request")


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_and_never_crash(raw: bytes) -> None:
    assert refusal(raw).status == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
WORDS = st.sampled_from(("is", "and", "or", "not", "contains", "event:page", "visit:source", "x", ""))


@given(st.lists(st.recursive(WORDS | JSON, lambda inner: st.lists(inner, max_size=4), max_leaves=8), max_size=3))
def test_arbitrary_filters_are_read_or_refused(filters: list[Any]) -> None:
    with contextlib.suppress(RequestError):
        check_request(request(filters=filters), max_rows=10)


def test_as_many_orders_as_a_query_can_have_names_are_taken() -> None:
    assert len(check_request(request(order_by=[["visitors", "asc"]] * MAX_ORDERS), max_rows=10).order_by) == MAX_ORDERS


def test_aliases_become_full_names_in_the_normalised_query() -> None:
    asked = check_request(
        request(
            metrics=["visits", "visit_duration", "views_per_visit"],
            order_by=[["visits", "asc"]],
            filters=[
                ["is_not", "visit:source", ["A"], {"case_sensitive": False}],
                ["not", ["or", [["is", "event:page", ["/"]]]]],
            ],
        ),
        max_rows=1_000,
    )
    assert asked.normalised() == {
        "site_id": "berlin.example",
        "metrics": ["sessions", "session_duration", "views_per_session"],
        "dimensions": [],
        "filters": [
            ["is_not", "visit:source", ["A"], {"case_sensitive": False}],
            ["not", ["or", [["is", "event:page", ["/"]]]]],
        ],
        "order_by": [["sessions", "asc"]],
        "include": {"total_rows": False, "time_labels": False, "comparison": None, "match_day_of_week": False},
        "pagination": {"limit": 100, "offset": 0},
        "exact": False,
    }


def test_orders_by_time_upwards_or_else_by_the_first_metric_downwards() -> None:
    by_time = check_request(request(dimensions=["visit:source", "time:day"]), max_rows=10)
    by_metric = check_request(request(dimensions=["visit:source"]), max_rows=10)
    assert by_time.normalised()["order_by"] == [["time:day", "asc"]]
    assert by_metric.normalised()["order_by"] == [["visitors", "desc"]]
