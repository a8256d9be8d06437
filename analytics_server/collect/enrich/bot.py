"""Bot detection: judges the user agent, and the headers of a page loaded ahead of time (prefetch).

Layers, cheapest first: no or garbage user agent; words that only automation uses
(HTTP libraries, headless browsers, monitors); is-crawler. ua-parser's Spider rules are
no layer: they added 4 of 2,123 known bots and took Kindles for one ("silk"). The verdict
is cached by the string. A server that tracks with a token may send no user agent at all:
whether this step applies to it is the pipeline's decision, not made here.
"""

from __future__ import annotations

import re

from is_crawler import crawler_contact, crawler_url, is_crawler

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.cache import GenerationCache
from analytics_server.collect.enrich.user_agent import MAX_USER_AGENT_CHARS

MIN_USER_AGENT_CHARS = 16
"""Shorter than any browser's; "Mozilla/5.0" alone is 11."""

_AUTOMATION = (
    "headless",
    "phantomjs",
    "slimerjs",
    "webdriver",
    "selenium",
    "puppeteer",
    "playwright",
    "cypress/",
    "prerender",
    "monitor",
    "acunetix",
    "checkly",
    "inspector",
    "silktide",
    "datanyze",
    "curl/",
    "wget",
    "python",
    "urllib",
    "aiohttp",
    "httpx",
    "httpie",
    "scrapy",
    "mechanize",
    "libwww",
    "lwp:",
    "lwp-",
    "perl/",
    "guzzle",
    "go-http-client",
    "java/",
    "jakarta",
    "apache-http",
    "okhttp",
    "dart/",
    "ruby/",
    "faraday v",
    "axios",
    "node-fetch",
    "undici",
    "got (",
    "postman",
    "insomnia/",
    "http_request",
    "httpclient",
    "winhttp",
    "libcurl",
    "restsharp",
    "powershell",
    "crawl",
    "spider",
    "slurp",
    "lighthouse",
    "pagespeed",
    "gtmetrix",
    "pingdom",
    "uptime",
    "statuscake",
    "site24x7",
    "datadog",
    "newrelic",
    "zgrab",
    "masscan",
    "nuclei",
    "nikto",
    "sqlmap",
    "nmap",
    "wpscan",
    "censys",
    "feedfetcher",
    "facebookexternalhit",
    "telegrambot",
    "skypeuripreview",
    "mediapartners",
    "google-read-aloud",
    "googleother",
    "google-inspectiontool",
    "ptst/",
    "dareboost",
    "${jndi",
    "<script",
    "../",
)
_AUTOMATION_WORD = re.compile(r"\b(?:(?:ro)?bots?\b|php/)")
_GARBAGE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_CUBOT = re.compile(r"cubot", re.IGNORECASE)
"""A maker of telephones, not a robot; is-crawler falls for the name."""
_SIMPLE_PHONE = re.compile(r"ucweb/|ucbrowser/|\bmidp-|onebrowser/", re.IGNORECASE)
"""Browsers of simple telephones don't call themselves Mozilla, which is-crawler expects."""
_AHEAD_OF_TIME = frozenset({"prefetch", "preview", "prerender"})


class BotDetector:
    """Judges user agents; owns the cache of verdicts."""

    __slots__ = ("_unmemoised", "_until_forgotten", "_verdicts")

    def __init__(self, cache_size: int) -> None:
        self._verdicts: GenerationCache[str, bool] = GenerationCache(cache_size)
        self._until_forgotten = self._unmemoised = max(1, cache_size)

    def is_bot(
        self,
        user_agent: str,
        *,
        sec_purpose: str | None = None,
        purpose: str | None = None,
        x_moz: str | None = None,
    ) -> DropReason | None:
        """`PREFETCH`, `BOT` or None; the keywords are the request's headers of these names."""
        if (sec_purpose or purpose or x_moz) and (_ahead(sec_purpose) or _ahead(purpose) or _ahead(x_moz)):
            return DropReason.PREFETCH
        if len(user_agent) > MAX_USER_AGENT_CHARS:
            user_agent = user_agent[:MAX_USER_AGENT_CHARS]
        verdict = self._verdicts.young.get(user_agent)
        if verdict is None:
            verdict = self._verdicts.get(user_agent)
            if verdict is None:
                verdict = self._judge(user_agent)
                self._verdicts.put(user_agent, verdict)
        return DropReason.BOT if verdict else None

    def _judge(self, user_agent: str) -> bool:
        text = _CUBOT.sub("phone", user_agent.strip())
        if len(text) < MIN_USER_AGENT_CHARS or _GARBAGE.search(text) or _names_automation(text.lower()):
            return True
        self._forget_is_crawlers_memo()
        return _SIMPLE_PHONE.search(text) is None and is_crawler(text)

    def _forget_is_crawlers_memo(self) -> None:
        """is-crawler remembers up to 32,768 strings a function; one bounded cache is enough."""
        self._until_forgotten -= 1
        if self._until_forgotten <= 0:
            self._until_forgotten = self._unmemoised
            for function in (is_crawler, crawler_contact, crawler_url):
                function.cache_clear()


def _names_automation(lower: str) -> bool:
    """Plain searches: many times as fast as one regular expression of all the words."""
    return any(word in lower for word in _AUTOMATION) or _AUTOMATION_WORD.search(lower) is not None


def _ahead(header: str | None) -> bool:
    """`prefetch;prerender` and `prefetch` alike: the first token decides."""
    return header is not None and header.partition(";")[0].strip().lower() in _AHEAD_OF_TIME
