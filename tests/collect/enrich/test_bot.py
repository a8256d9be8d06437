"""Bots are told from browsers, pages loaded ahead of time from pages seen."""

from __future__ import annotations

import pytest

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.bot import BotDetector
from tests.collect.enrich.user_agents import BOTS, BROWSERS


@pytest.fixture(scope="module")
def bots() -> BotDetector:
    return BotDetector(200)


@pytest.mark.parametrize("user_agent", BOTS)
def test_drops_bots(bots: BotDetector, user_agent: str) -> None:
    assert bots.is_bot(user_agent) is DropReason.BOT


@pytest.mark.parametrize("user_agent", BROWSERS)
def test_keeps_browsers(bots: BotDetector, user_agent: str) -> None:
    assert bots.is_bot(user_agent) is None


def test_verdict_is_the_same_from_the_cache(bots: BotDetector) -> None:
    for _ in range(3):
        assert bots.is_bot(BROWSERS[0]) is None
        assert bots.is_bot("curl/8.5.0") is DropReason.BOT


def test_a_huge_string_is_judged_by_its_beginning(bots: BotDetector) -> None:
    assert bots.is_bot("curl/8.5.0 " + "x" * 1_000_000) is DropReason.BOT


def test_many_different_strings_stay_within_the_cache() -> None:
    bots = BotDetector(10)
    for number in range(50):
        assert bots.is_bot(BROWSERS[0].replace("154", str(200 + number))) is None
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
def test_drops_pages_loaded_ahead_of_time(
    bots: BotDetector, sec_purpose: str | None, purpose: str | None, x_moz: str | None
) -> None:
    reason = bots.is_bot(BROWSERS[0], sec_purpose=sec_purpose, purpose=purpose, x_moz=x_moz)
    assert reason is DropReason.PREFETCH


@pytest.mark.parametrize("header", ["", "navigate", "noprefetch", ";prefetch"])
def test_other_purposes_are_no_reason_to_drop(bots: BotDetector, header: str) -> None:
    assert bots.is_bot(BROWSERS[0], sec_purpose=header, purpose=header, x_moz=header) is None
