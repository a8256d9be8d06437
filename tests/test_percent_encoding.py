"""A path has one spelling when it is stored, and filters find every spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.percent_encoding import readable, spellings

READABLE = (
    ("/plain", "/plain"),
    ("/café", "/café"),
    ("/caf%C3%A9", "/café"),
    ("/caf%c3%a9", "/café"),
    ("/caf%C3%a9/%e6%97%a5", "/café/日"),
    ("/red%20shoes", "/red shoes"),
    ("/%61%2D%7e", "/a-~"),
    ("/wiki/Foo_%28bar%29", "/wiki/Foo_(bar)"),
    ("/a%2fb", "/a%2Fb"),
    ("/a%3fb%23c%26d%3de%2b%40", "/a%3Fb%23c%26d%3De%2B%40"),
    ("/%5c", "/%5C"),
    ("/100%25", "/100%25"),
    ("/100%", "/100%25"),
    ("/%zz%4", "/%25zz%254"),
    ("/%%41", "/%25A"),
    ("/%4%31", "/%2541"),
    ("/%2541", "/%2541"),
    ("/%ff%C3", "/%FF%C3"),
    ("/%c3%a9%ff", "/é%FF"),
    ("/%ed%a0%80", "/%ED%A0%80"),
    ("/%00%0a%7f%c2%85", "/%00%0A%7F%C2%85"),
    ("/%e2%80%a8%e2%80%ae%ef%bb%bf", "/%E2%80%A8%E2%80%AE%EF%BB%BF"),
    ("/%d9%85%db%8c%e2%80%8c%d8%ae", "/می\u200cخ"),
)

SPELLINGS = (
    ("/plain", ("/plain",)),
    ("/café", ("/café", "/caf%C3%A9", "/caf%c3%a9")),
    ("/caf%C3%A9", ("/caf%C3%A9", "/café", "/caf%c3%a9")),
    ("/caf%c3%a9", ("/caf%c3%a9", "/café", "/caf%C3%A9")),
    ("/caf%C3%a9", ("/caf%C3%a9", "/café", "/caf%C3%A9", "/caf%c3%a9")),
    ("/red shoes", ("/red shoes", "/red%20shoes")),
    ("/a%2fb", ("/a%2fb", "/a%2Fb")),
    ("/über/**", ("/über/**", "/%C3%BCber/**", "/%c3%bcber/**")),
)


@pytest.mark.parametrize(("text", "expected"), READABLE)
def test_a_path_is_stored_as_people_read_it(text: str, expected: str) -> None:
    assert readable(text) == expected


@pytest.mark.parametrize(("text", "expected"), SPELLINGS)
def test_a_filter_has_every_spelling(text: str, expected: tuple[str, ...]) -> None:
    assert spellings(text) == expected


def test_escapes_in_upper_and_lower_case_are_one_where_case_does_not_count() -> None:
    assert spellings("/é", case_sensitive=False) == ("/é", "/%C3%A9")
    assert spellings("/%c3%a9", case_sensitive=False) == ("/%c3%a9", "/é", "/%C3%A9")


@given(
    st.one_of(st.text(), st.lists(st.sampled_from(["%", "4", "1", "%C3", "%a9", "%25", "/", "é", " "])).map("".join))
)
def test_reading_twice_changes_nothing(text: str) -> None:
    once = readable(text)
    assert readable(once) == once
    assert len(once) <= 3 * len(text)
    assert {text, once} <= set(spellings(text))
