"""The values of an event: what is kept, what is cut, what is masked."""

from __future__ import annotations

import pytest

from analytics_server.collect.enrich.url import UrlCleaner
from analytics_server.collect.enrich.values import DetailReader, identifier, language_of, revenue_of
from analytics_server.collect.formats.beacon import Beacon, Element
from analytics_server.collect.formats.warnings import WarningCode, Warnings
from analytics_server.config import LimitsSection


def reader(*, mask: bool = True) -> DetailReader:
    return DetailReader(UrlCleaner((), True, 2_048), LimitsSection(), mask=mask)


def test_masks_addresses_in_text_that_people_wrote() -> None:
    assert reader().text("Hello ada@example.com!", 100) == "Hello *@*"
    assert reader(mask=False).text("Hello ada@example.com!", 100) == "Hello ada@example.com!"


def test_masks_addresses_in_the_text_of_an_element() -> None:
    details = reader().read(Beacon(site="a", name="click", element=Element(text="ada@example.com")), Warnings(10))
    assert "*@*" in details
    assert "ada@example.com" not in details


@pytest.mark.parametrize("text", ["👨‍👩‍👧 family", "no\u00a0break", "日本\u3000語", "soft\u00adhyphen"])
def test_keeps_every_character_that_is_no_control(text: str) -> None:
    assert reader().text(text, 100) == text
    assert identifier("user_id", text, 100, Warnings(0)) == text


def test_turns_control_characters_into_spaces() -> None:
    assert reader().text("a\x00b\r\nc", 100) == "a b  c"


@pytest.mark.parametrize(("text", "kept"), [("u" * 100, "u" * 100), ("u" * 101, ""), ("a\nb", ""), ("a\u2028b", "")])
def test_an_id_is_kept_whole_or_left_out(text: str, kept: str) -> None:
    """Cut or cleaned it could become another's."""
    warnings = Warnings(10)

    assert identifier("user_id", text, 100, warnings) == kept
    assert warnings.counts == (None if kept else {WarningCode.LEFT_OUT: 1})


def test_takes_the_first_language_only() -> None:
    assert language_of("en-GB,en;q=0.9") == "en-GB"
    assert language_of("not a language") == ""


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("en_US", "en-US"),
        ("EN-us", "en-US"),
        ("en-us", "en-US"),
        ("en", "en"),
        ("DE", "de"),
        ("en_US.UTF-8", "en-US"),
        ("sr_RS@latin", "sr-RS"),
        ("zh_hans_cn", "zh-Hans-CN"),
        ("ZH-HANT-TW", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("sl-ROZAJ-biske", "sl-rozaj-biske"),
        ("de-CH-1996", "de-CH-1996"),
        ("en-a-BBCC-ab", "en-a-bbcc-AB"),
        ("en-x-US", "en-x-us"),
        ("fil_PH", "fil-PH"),
        ("*", ""),
        ("C", ""),
        ("POSIX", ""),
        ("null", ""),
        ("undefined", ""),
        ("english", ""),
        ("und", ""),
        ("und-US", ""),
        ("yue-HK", "yue-HK"),
        ("de_DE.UTF-8@euro", "de-DE"),
        ("pt_br", "pt-BR"),
        ("nb", "nb"),
        ("", ""),
        ("en--US", ""),
        ("e\u0303n", ""),
        ("abcdefghi", ""),
        ("1en", ""),
    ],
)
def test_a_language_has_one_spelling(text: str, language: str) -> None:
    assert language_of(text) == language


def test_keeps_four_decimals_of_revenue() -> None:
    assert revenue_of("12.34567", "eur") == ("12.3457", "EUR")
    assert revenue_of(1e14, "EUR") is None
