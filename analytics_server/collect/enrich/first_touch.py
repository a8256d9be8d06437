"""First-touch enrichment: what a session's first event brings, of origin, place and browser.

Worked out only when a session begins, and traffic repeats itself: the origin is cached by
referrer and the page's campaign tags (its URL may hold a click id of its own), the browser by
user agent, client hints, screen and language. Addresses are not kept here.
"""

from __future__ import annotations

from collections.abc import Mapping

from analytics_server.collect.enrich.agent import AgentParser, as_tablet
from analytics_server.collect.enrich.cache import MAX_KEY_CHARS, GenerationCache
from analytics_server.collect.enrich.campaign import NO_CAMPAIGN, campaign
from analytics_server.collect.enrich.channel import channel, source
from analytics_server.collect.enrich.client_hints import HintHeaders, hint_headers, read_hints, refine
from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.collect.enrich.url import CleanUrl, UrlCleaner
from analytics_server.collect.enrich.values import language_of, screen_of
from analytics_server.collect.formats.beacon import Beacon, Screen
from analytics_server.model import Attributes
from analytics_server.spelling.source_names import DIRECT, SPAM

CACHED_ORIGINS = 4_096
CACHED_BROWSERS = 4_096
TABLET_TOUCHES = 2
"""One touch point a device may have that is no tablet."""
_SPAM_ORIGIN: Attributes = ()

_Tags = tuple[tuple[str, str], ...]
"""A page's campaign keys with their values."""


class FirstTouch:
    """Reads a session's attributes, in the order of `model.SESSION_ATTRIBUTES`."""

    __slots__ = ("_agents", "_browsers", "_geo", "_origins", "_referrers", "_urls")

    def __init__(self, urls: UrlCleaner, referrers: ReferrerClassifier, agents: AgentParser, geo: GeoLocator) -> None:
        self._urls = urls
        self._referrers = referrers
        self._agents = agents
        self._geo = geo
        self._origins: GenerationCache[tuple[str, str, _Tags, tuple[str, ...]], Attributes] = GenerationCache(
            CACHED_ORIGINS
        )
        self._browsers: GenerationCache[tuple[str, object, object, bool, str, HintHeaders | None], Attributes] = (
            GenerationCache(CACHED_BROWSERS)
        )

    def read(
        self,
        beacon: Beacon,
        page: CleanUrl,
        address: str,
        user_agent: str,
        language: str,
        allowed_hosts: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Attributes | None:
        """The attributes; None when the referrer is spam.

        `language`: the request's, if the event has none. `allowed_hosts`: the site's own hosts, which are no referrers.
        `headers`: the request's, if they hold client hints of the visitor's own browser.
        """
        origin = self._origin(page, beacon.referrer or "", allowed_hosts)
        if not origin:
            return None
        hints = None if headers is None else hint_headers(headers)
        browser = self._browser(user_agent, beacon.screen, beacon.language or language, hints)
        return origin + self._geo.locate(address) + browser

    def _origin(self, page: CleanUrl, referrer: str, allowed_hosts: tuple[str, ...]) -> Attributes:
        """referrer, source, channel and the five campaign tags; empty for spam."""
        if not referrer:
            allowed_hosts = ()
        tags = tuple(page.query.items()) if page.query else ()
        key = (page.hostname, referrer, tags, allowed_hosts)
        found = self._origins.young.get(key) or self._origins.get(key)
        if found is None:
            found = self._read_origin(page, referrer, allowed_hosts)
            if len(referrer) + sum(len(value) for _, value in tags) <= MAX_KEY_CHARS:
                self._origins.put(key, found)
        return found

    def _read_origin(self, page: CleanUrl, text: str, allowed_hosts: tuple[str, ...]) -> Attributes:
        tags = campaign(page.query) if page.query else NO_CAMPAIGN
        cleaned = self._urls.clean_referrer(text) if text else None
        referrer = DIRECT
        if cleaned is not None:
            referrer = self._referrers.classify(cleaned.host, page.hostname, allowed_hosts)
        if referrer.kind == SPAM:
            return _SPAM_ORIGIN
        if referrer is DIRECT:
            cleaned = None
        origin = source(tags, referrer, self._referrers)
        return (
            cleaned.text if cleaned is not None else "",
            origin.name,
            channel(origin, tags, cleaned is not None).value,
            tags.utm_source,
            tags.utm_medium,
            tags.utm_campaign,
            tags.utm_content,
            tags.utm_term,
        )

    def _browser(self, user_agent: str, screen: Screen | None, language: str, hints: HintHeaders | None) -> Attributes:
        """browser, browser_version, os, os_version, device, screen and language."""
        width = height = touch = None
        if screen is not None:
            width, height, touch = screen.width, screen.height, screen.touch
        touches = touch is not None and touch >= TABLET_TOUCHES
        key = (user_agent, width, height, touches, language, hints)
        found = self._browsers.young.get(key) or self._browsers.get(key)
        if found is None:
            size = screen_of(width, height) if width and height else ""
            agent = self._agents.parse(user_agent)
            if hints is not None:
                agent = refine(agent, read_hints(hints))
            if touches:
                agent = as_tablet(agent, user_agent)
            found = (*agent, size, language_of(language))
            chars = len(user_agent) + len(language) + sum(len(text) for text in hints or () if text)
            if chars <= MAX_KEY_CHARS and (size or not (width or height)):
                self._browsers.put(key, found)
        return found
