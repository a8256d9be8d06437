"""The values of an event: what is kept, what is cut, what is masked."""

from __future__ import annotations

import pytest

from analytics_server.collect.payload import Beacon, Element
from analytics_server.collect.url import UrlCleaner
from analytics_server.collect.values import DetailReader, Reject, identifier, language_of, revenue_of
from analytics_server.config import LimitsSection


def reader(*, mask: bool = True) -> DetailReader:
    return DetailReader(UrlCleaner((), True, 2_048), LimitsSection(), mask=mask)


def test_masks_addresses_in_text_that_people_wrote() -> None:
    assert reader().text("Hello ada@example.com!", 100) == "Hello *@*"
    assert reader(mask=False).text("Hello ada@example.com!", 100) == "Hello ada@example.com!"


def test_masks_addresses_in_the_text_of_an_element() -> None:
    details = reader().read(Beacon(site="a", name="click", element=Element(text="ada@example.com")), "click")
    assert "*@*" in details
    assert "ada@example.com" not in details


@pytest.mark.parametrize("text", ["👨‍👩‍👧 family", "no\u00a0break", "日本\u3000語", "soft\u00adhyphen"])
def test_keeps_every_character_that_is_no_control(text: str) -> None:
    assert reader().text(text, 100) == text
    assert identifier("user_id", text, 100) == text


def test_turns_control_characters_into_spaces() -> None:
    assert reader().text("a\x00b\r\nc", 100) == "a b  c"
    with pytest.raises(Reject):
        identifier("user_id", "a\nb", 100)


def test_takes_the_first_language_only() -> None:
    assert language_of("en-GB,en;q=0.9") == "en-GB"
    assert language_of("not a language") == ""


def test_keeps_four_decimals_of_revenue() -> None:
    assert revenue_of("12.34567", "eur") == ("12.3457", "EUR")
    with pytest.raises(Reject):
        revenue_of(1e14, "EUR")
