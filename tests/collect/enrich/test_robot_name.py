"""What a robot calls itself is told; its operator, or anything else that a user agent may hold, is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.enrich.bot_reason import BotReason
from analytics_server.collect.enrich.robot_name import ROBOT_CHARS, robot_name

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot"),
        (f"{CHROME} (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "bingbot"),
        (CHROME.replace("Chrome/", "HeadlessChrome/"), "HeadlessChrome"),
        ("python-requests/2.31.0", "python-requests"),
        ("curl/8.5.0", "curl"),
        ("okhttp/4.12.0 (default)", "okhttp"),
        ("facebookexternalhit/1.1", "facebookexternalhit"),
        ("TelegramBot (like TwitterBot)", "TelegramBot"),
        ("sqlmap/1.7.2#stable (https://sqlmap.org)", "sqlmap"),
        ("Mozilla/5.0 zgrab/0.x", "zgrab"),
        ("CCBot/2.0 (https://commoncrawl.org/faq/)", "CCBot"),
        ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "UptimeRobot"),
        ("", ""),
        ("-", ""),
        ("Mozilla/5.0", ""),
        (CHROME, ""),
        ("\x00\x07", ""),
        ("John Smith's scraper", ""),
        ("anna.smith@mail.example bot", ""),
        ("anna.smith@mail.example/1.0", ""),
        ("anna.smith%40mail.example/1.0", ""),
        ("http://people.example/anna-bot/1.0", ""),
        ("www.anna-smith.example/bot.html", ""),
        ("Bot-01701234567/1.0", ""),
        ("crawler-550e8400-e29b-41d4-a716-446655440000/1.0", ""),
        ("A" * 200 + "bot/1.0", ""),
    ],
)
def test_the_name_is_a_products(user_agent: str, name: str) -> None:
    assert robot_name(user_agent) == name


@pytest.mark.parametrize("kind", [kind for kind in BotReason if kind not in (BotReason.EMPTY, BotReason.MALFORMED)])
def test_the_documented_examples_have_a_name(kind: BotReason) -> None:
    assert all(robot_name(example) for example in kind.examples)


@given(st.text(max_size=700))
def test_a_name_is_short_and_of_plain_letters(user_agent: str) -> None:
    name = robot_name(user_agent)
    assert len(name) <= ROBOT_CHARS
    assert name.isascii()
    assert not set(name) & set("@/% \t")
