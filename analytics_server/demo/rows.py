"""Sessions as rows of `events`, enriched by the same parts as real beacons.

User agent, referrer, campaign and channel go through `collect`'s parsers, once per
distinct input, so a made-up session reads exactly as a real one would. Only the place is
given instead of looked up: the demo must have countries without a database.
"""

from __future__ import annotations

import random

from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.campaign import campaign
from analytics_server.collect.enrich.channel import channel, source
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.collect.enrich.url import UrlCleaner
from analytics_server.collect.identity.visitor import DAY_S, VisitorHasher
from analytics_server.config import Config
from analytics_server.demo.sessions import PlannedSession
from analytics_server.demo.visitors import SyntheticVisitor
from analytics_server.demo.world import HOSTNAME
from analytics_server.model import ACTIVE, PASSIVE, PASSIVE_EVENTS
from analytics_server.spelling.source_names import DIRECT, load_sources

DAY_MS = DAY_S * 1000
VERSION_4 = 4 << 76
VARIANT_1 = 2 << 62
_RANDOM_BITS = ((1 << 128) - 1) & ~(0xF << 76) & ~(3 << 62)
SALT_BYTES = 16


class RowMaker:
    """Turns sessions into rows in the order of `model.COLUMNS`; draws ids from the seed."""

    def __init__(self, site_id: str, config: Config, seed: int) -> None:
        self._site_id = site_id
        self._rng = random.Random(f"rows {seed}")
        salt = self._rng.randbytes(SALT_BYTES)
        self._visitors = VisitorHasher(lambda _: salt, enabled=config.privacy.visitor == "daily")
        self._urls = UrlCleaner(config.collect.query_keys, config.collect.mask_emails, config.limits.url_chars)
        self._referrers = ReferrerClassifier(load_sources())
        self._agents = AgentParser(config.collect.user_agent_cache)
        self._origins: dict[tuple[str, str], tuple[str, ...]] = {}

    def rows(self, session: PlannedSession) -> list[list[object]]:
        """The rows of a session, in order of time."""
        visitor, start_ms = session.visitor, session.start_ms
        site_id, session_id = self._site_id, session.session_id
        attributes = (*self._origin(session), *self._browser(visitor))
        start_us = (start_ms + session.events[0].at_ms) * 1000
        bits = self._rng.getrandbits
        rows: list[list[object]] = []
        # A session that goes on over midnight keeps its visitor.
        visitor_id = self._visitors.identify(
            site_id, visitor.address, visitor.profile.user_agent, start_us // 1000 // DAY_MS
        )
        for event in session.events:
            ts_ms = start_ms + event.at_ms
            rows.append(
                [
                    site_id,
                    ts_ms * 1000,
                    event.name,
                    (bits(128) & _RANDOM_BITS | VERSION_4 | VARIANT_1).to_bytes(16, "big"),
                    session_id,
                    start_us,
                    visitor_id,
                    PASSIVE if event.name in PASSIVE_EVENTS else ACTIVE,
                    1,
                    event.user_id,
                    HOSTNAME,
                    event.page.path,
                    event.page.title,
                    *attributes,
                    *event.details,
                    event.props,
                ]
            )
        return rows

    def _origin(self, session: PlannedSession) -> tuple[str, ...]:
        """referrer, source, channel and the five campaign tags."""
        key = (session.url, session.referrer)
        found = self._origins.get(key)
        if found is None:
            page = self._urls.clean(session.url)
            tags = campaign(page.query if page else {})
            cleaned = self._urls.clean_referrer(session.referrer) if session.referrer else None
            referrer = self._referrers.classify(cleaned.host, HOSTNAME) if cleaned is not None else DIRECT
            origin = source(tags, referrer, self._referrers)
            found = (
                cleaned.text if cleaned is not None else "",
                origin.name,
                channel(origin, tags, cleaned is not None).value,
                tags.utm_source,
                tags.utm_medium,
                tags.utm_campaign,
                tags.utm_content,
                tags.utm_term,
            )
            self._origins[key] = found
        return found

    def _browser(self, visitor: SyntheticVisitor) -> tuple[str, ...]:
        """Place, browser, system, device, screen and language."""
        place, profile = visitor.place, visitor.profile
        agent = self._agents.parse(profile.user_agent)
        return (
            place.country,
            place.region,
            place.city,
            agent.browser,
            agent.browser_version,
            agent.os,
            agent.os_version,
            agent.device,
            profile.screen,
            place.language,
        )
