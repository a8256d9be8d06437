"""Query-string parameters: once each, and none that an address does not know."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from analytics_server.errors import RequestError
from analytics_server.http.parameters import known_values, single_values


def test_values_are_given_by_name() -> None:
    request = make_mocked_request("GET", "/x?a=1&b=")

    assert single_values(request) == {"a": "1", "b": ""}
    assert known_values(request, "a", "b", "c") == {"a": "1", "b": "", "c": ""}


@pytest.mark.parametrize(
    ("query", "code"), [("a=1&a=1", "bad_request"), ("b=1", "unknown_key"), ("b=1&b=2", "unknown_key")]
)
def test_repeated_and_unknown_names_are_refused(query: str, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        known_values(make_mocked_request("GET", f"/x?{query}"), "a")

    assert caught.value.code == code


def test_a_message_does_not_repeat_a_long_name() -> None:
    name = "x" * 5_000
    with pytest.raises(RequestError) as caught:
        single_values(make_mocked_request("GET", f"/x?{name}=1&{name}=2"))

    assert len(caught.value.message) < 300
