"""Kinds of automation that a user agent gives away: the one list, each with its sentence and examples.

All are dropped as `bot`; this says which kind, to the site's owner. The values are stable: labels of a metric and
keys in answers.
"""

from __future__ import annotations

from enum import StrEnum


class BotReason(StrEnum):
    """A kind of bot; `about` and `examples` are what the documentation shows."""

    about: str
    examples: tuple[str, ...]

    def __new__(cls, value: str, about: str = "", examples: tuple[str, ...] = ()) -> BotReason:
        member = str.__new__(cls, value)
        member._value_ = value
        member.about = about
        member.examples = examples
        return member

    EMPTY = (
        "empty",
        "There is no user agent, or one shorter than any browser's.",
        ("-", "Mozilla/5.0"),
    )
    MALFORMED = (
        "malformed",
        "The user agent holds control characters or broken text.",
        ("Mozilla/5.0 (Windows NT 10.0)\tFirefox\x07",),
    )
    HEADLESS = (
        "headless",
        "A browser that a program drives, without a window.",
        ("HeadlessChrome/142.0.0.0", "Mozilla/5.0 (Unknown; Linux x86_64) PhantomJS/2.1.1"),
    )
    SCANNER = (
        "scanner",
        "A tool that looks for security holes, or an attempt to use one.",
        ("sqlmap/1.7.2#stable (https://sqlmap.org)", "Mozilla/5.0 zgrab/0.x"),
    )
    MONITOR = (
        "monitor",
        "A service that checks whether a page is up, fast or sound.",
        ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "Chrome-Lighthouse/12.0"),
    )
    PREVIEW = (
        "preview",
        "A messenger or social network that makes a preview of a link.",
        ("facebookexternalhit/1.1", "TelegramBot (like TwitterBot)"),
    )
    CRAWLER = (
        "crawler",
        "A search engine, an AI crawler, a feed reader, or what else calls itself a robot or no browser at all.",
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "CCBot/2.0 (https://commoncrawl.org/faq/)",
        ),
    )
    LIBRARY = (
        "library",
        "An HTTP library or command-line tool that names no app.",
        ("python-requests/2.31.0", "okhttp/4.12.0 (default)"),
    )
