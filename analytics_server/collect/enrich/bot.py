"""Bot detection: judges the user agent, and the headers of a page loaded ahead of time (prefetch).

Layers, cheapest first: the whole string of a common browser; no or garbage user agent; words that only automation
uses (`bots.json`: kind → words, packed beside this module; `^` means at the beginning); is-crawler. What people and
makers name freely is judged apart: a device's model not at all, an app's own name by less, what follows it like a
browser's. ua-parser's Spider rules are no layer: they added 4 of 2,123 known bots and took Kindles for one ("silk").
The verdict is cached by the string. A server that tracks with a token may send no user agent at all: whether this
step applies to it is the pipeline's decision, not made here.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Literal

import msgspec
from is_crawler import crawler_contact, crawler_url, is_crawler

from analytics_server.collect.enrich.bot_reason import BotReason
from analytics_server.collect.enrich.cache import GenerationCache
from analytics_server.collect.enrich.robot_name import robot_name
from analytics_server.collect.enrich.user_agent import MAX_USER_AGENT_CHARS, OwnName, own_name, without_model

MIN_USER_AGENT_CHARS = 16
"""Shorter than any browser's; "Mozilla/5.0" alone is 11."""

_OF_APPS = frozenset({"okhttp", "dart/"})
"""Libraries in whose string an app's own name may come first."""
_KINDS_OF_NAMES = (BotReason.HEADLESS, BotReason.SCANNER, BotReason.LIBRARY)
"""Whose words an app's own name can't begin with; the others' are words of every day."""
_AUTOMATION_WORD = re.compile(r"\b(?:ro)?bots?\b")
_LIBRARY_WORD = re.compile(r"\bphp/")
_ROBOTS_NAME = re.compile(r".*(?:bots?|crawler|spider|scraper)", re.IGNORECASE)
_ORDINARY = re.compile(
    r"Mozilla/5\.0 \((?:Windows NT [\d.]+; Win64; x64|Macintosh; Intel Mac OS X [\d_.]+|X11; Linux x86_64"
    r"|X11; CrOS [\w. ]+|iPhone; CPU iPhone OS [\d_]+ like Mac OS X|iPad; CPU OS [\d_]+ like Mac OS X"
    r"|Linux; Android \d+; K)\) AppleWebKit/[\d.]+ \(KHTML, like Gecko\)"
    r"(?: (?:Chrome|CriOS|Edg|EdgA|EdgiOS|FxiOS|GSA|Mobile|OPR|Safari|SamsungBrowser|Version)(?:/[\dA-Z.]+)?)+"
)
"""All there is in the strings of the commonest browsers, in which no other word has room. Saves most of the work."""
_GARBAGE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_CUBOT = re.compile(r"cubot", re.IGNORECASE)
"""A maker of telephones, not a robot; is-crawler falls for the name."""
_SIMPLE_PHONE = re.compile(r"ucweb/|ucbrowser/|\bmidp-|onebrowser/|^roku|^hbbtv/", re.IGNORECASE)
"""Browsers of simple telephones and of some televisions don't call themselves Mozilla, which is-crawler expects."""
_AHEAD_OF_TIME = frozenset({"prefetch", "preview", "prerender"})

_Words = tuple[tuple[str, BotReason], ...]


class BotDetector:
    """Judges user agents; owns the cache of verdicts."""

    __slots__ = ("_beginnings", "_names", "_unmemoised", "_until_forgotten", "_verdicts", "_words", "_words_of_apps")

    def __init__(self, cache_size: int) -> None:
        self._verdicts: GenerationCache[str, BotReason | Literal[False]] = GenerationCache(cache_size)
        self._names: GenerationCache[str, str] = GenerationCache(cache_size)
        self._until_forgotten = self._unmemoised = max(1, cache_size)
        kinds = read_words()
        words = [(word, kind) for kind in BotReason for word in kinds.get(kind, ())]
        self._words: _Words = tuple(item for item in words if not item[0].startswith("^"))
        self._words_of_apps: _Words = tuple(item for item in self._words if item[0] not in _OF_APPS)
        self._beginnings: _Words = tuple((word[1:], kind) for word, kind in words if word.startswith("^"))

    def judge(self, user_agent: str) -> BotReason | None:
        """The kind of bot that the string gives away; None for a person's browser or app."""
        if len(user_agent) > MAX_USER_AGENT_CHARS:
            user_agent = user_agent[:MAX_USER_AGENT_CHARS]
        verdict = self._verdicts.young.get(user_agent)
        if verdict is None:
            verdict = self._verdicts.get(user_agent)
            if verdict is None:
                verdict = self._judge(user_agent) or False
                self._verdicts.put(user_agent, verdict)
        return verdict or None

    def name_of(self, user_agent: str) -> str:
        """What a robot calls itself; "" where the string names no product."""
        name = self._names.get(user_agent)
        if name is None:
            name = robot_name(user_agent)
            self._names.put(user_agent, name)
        return name

    def _judge(self, user_agent: str) -> BotReason | None:
        if _ORDINARY.fullmatch(user_agent) is not None:
            return None
        text = user_agent.strip()
        if _GARBAGE.search(text):
            return BotReason.MALFORMED
        if (app := own_name(text)) is not None:
            return self._judge_app(app)
        if len(text) < MIN_USER_AGENT_CHARS:
            return _named(text.lower(), self._words) or _named_shortly(text)
        text = without_model(_CUBOT.sub("phone", text))
        lower = text.lower()
        for word, kind in self._beginnings:
            if lower.startswith(word):
                return kind
        return _named(lower, self._words) or self._unnamed(text)

    def _judge_app(self, app: OwnName) -> BotReason | None:
        """Its own name by less, the rest like a browser's."""
        name = f"{app.name}/".lower()
        for word, kind in self._words:
            if kind in _KINDS_OF_NAMES and name.startswith(word):
                return kind
        if _ROBOTS_NAME.fullmatch(app.name):
            return BotReason.CRAWLER
        rest = without_model(_CUBOT.sub("phone", f"Mozilla/5.0{app.rest}"))
        return _named(rest.lower(), self._words_of_apps) or self._unnamed(rest)

    def _unnamed(self, text: str) -> BotReason | None:
        """By is-crawler, which remembers up to 32,768 strings a function; one bounded cache is enough."""
        self._until_forgotten -= 1
        if self._until_forgotten <= 0:
            self._until_forgotten = self._unmemoised
            for function in (is_crawler, crawler_contact, crawler_url):
                function.cache_clear()
        return BotReason.CRAWLER if _SIMPLE_PHONE.search(text) is None and is_crawler(text) else None


def read_words() -> dict[BotReason, tuple[str, ...]]:
    """The words by kind, in lower case, as they are packed beside this module."""
    packed = resources.files(__package__ or __name__).joinpath("bots.json").read_bytes()
    return msgspec.json.decode(packed, type=dict[BotReason, tuple[str, ...]])


def loaded_ahead(*headers: str | None) -> bool:
    """Whether one of a request's headers (Sec-Purpose, Purpose, X-Moz) says that the page is not shown yet."""
    return any(_ahead(header) for header in headers)


def _named(lower: str, words: _Words) -> BotReason | None:
    """Plain searches: many times as fast as one regular expression of all the words."""
    for word, kind in words:
        if word in lower:
            return kind
    if _AUTOMATION_WORD.search(lower) is not None:
        return BotReason.CRAWLER
    return BotReason.LIBRARY if _LIBRARY_WORD.search(lower) is not None else None


def _named_shortly(text: str) -> BotReason:
    """Of a short string: `CCBot/2.0` names a product, `Mozilla/5.0` and `test` nothing."""
    product = text.partition("/")[0]
    named = product != text and product != "Mozilla"
    return BotReason.CRAWLER if named or _ROBOTS_NAME.fullmatch(product) else BotReason.EMPTY


def _ahead(header: str | None) -> bool:
    """`prefetch;prerender` and `prefetch` alike: the first token decides."""
    return header is not None and header.partition(";")[0].strip().lower() in _AHEAD_OF_TIME
