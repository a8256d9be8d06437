"""Bots are told from browsers, pages loaded ahead of time from pages seen."""

from __future__ import annotations

import pytest

from analytics_server.collect.enrich.bot import BotDetector, loaded_ahead, read_words
from analytics_server.collect.enrich.bot_reason import BotReason
from tests.collect.enrich.apps import APPS
from tests.collect.enrich.user_agents import BOTS, BROWSERS


@pytest.fixture(scope="module")
def bots() -> BotDetector:
    return BotDetector(200)


@pytest.mark.parametrize(("kind", "user_agent"), BOTS)
def test_drops_bots_and_names_their_kind(bots: BotDetector, kind: str, user_agent: str) -> None:
    assert bots.judge(user_agent) == kind


@pytest.mark.parametrize("user_agent", [*BROWSERS, *(user_agent for user_agent, _ in APPS)])
def test_keeps_browsers_and_apps(bots: BotDetector, user_agent: str) -> None:
    assert bots.judge(user_agent) is None


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, words in read_words().items() for word in words])
def test_each_word_of_the_table_gives_its_kind(bots: BotDetector, kind: BotReason, word: str) -> None:
    assert word == word.lower()
    text = f"{word[1:]}2.0 (Linux)" if word.startswith("^") else f"Mozilla/5.0 (X11; Linux x86_64) {word}"
    assert bots.judge(text.upper()) is kind


@pytest.mark.parametrize(("kind", "example"), [(kind, example) for kind in BotReason for example in kind.examples])
def test_each_documented_example_is_of_its_kind(bots: BotDetector, kind: BotReason, example: str) -> None:
    assert bots.judge(example) is kind


def test_verdict_is_the_same_from_the_cache(bots: BotDetector) -> None:
    for _ in range(3):
        assert bots.judge(BROWSERS[0]) is None
        assert bots.judge("curl/8.5.0") is BotReason.LIBRARY


def test_a_huge_string_is_judged_by_its_beginning(bots: BotDetector) -> None:
    assert bots.judge("curl/8.5.0 " + "x" * 1_000_000) is BotReason.LIBRARY


def test_many_different_strings_stay_within_the_cache() -> None:
    bots = BotDetector(10)
    for number in range(50):
        assert bots.judge(BROWSERS[0].replace("154", str(200 + number))) is None
    assert len(bots._verdicts) <= 10


@pytest.mark.parametrize(
    ("sec_purpose", "purpose", "x_moz"),
    [
        ("prefetch", None, None),
        ("prefetch;prerender", None, None),
        ("Prefetch; anonymous-client-ip", None, None),
        (None, "prefetch", None),
        (None, "preview", None),
        (None, None, "prefetch"),
    ],
)
def test_knows_pages_loaded_ahead_of_time(sec_purpose: str | None, purpose: str | None, x_moz: str | None) -> None:
    assert loaded_ahead(sec_purpose, purpose, x_moz)


@pytest.mark.parametrize("header", ["", "navigate", "noprefetch", ";prefetch"])
def test_other_purposes_are_no_reason_to_drop(header: str) -> None:
    assert not loaded_ahead(header, header, header)
