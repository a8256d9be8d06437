"""The collecting core with a clock that tests turn, salts that are known, and ids in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import msgspec
from prometheus_client import CollectorRegistry

from analytics_server.access.gate import Gate
from analytics_server.access.principals import Principal, Role
from analytics_server.access.sites.sites import Sites
from analytics_server.access.tokens import Token
from analytics_server.collect.answer import BeaconAnswer
from analytics_server.collect.collector import Collector
from analytics_server.collect.drop_counts import DropCounts
from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.bot import BotDetector
from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.collect.enrich.url import UrlCleaner
from analytics_server.collect.formats.table import FORMATS
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.session import Sessions
from analytics_server.collect.identity.visitor import VisitorHasher
from analytics_server.collect.limits import RateLimiter, hourly
from analytics_server.collect.metrics import CollectMetrics
from analytics_server.collect.pipeline import Pipeline
from analytics_server.collect.steps.parts import Parts
from analytics_server.config import CollectSection, LimitsSection, SitesSection
from analytics_server.errors import Unauthorized
from analytics_server.ingest.wal.group import Waiter
from analytics_server.ingest.wal.log import Wal
from analytics_server.model import COLUMNS, Row
from analytics_server.spelling.source_names import load_sources
from analytics_server.store.protocol import Store
from tests.server import USER_AGENT

NOON = 1_763_899_200.0
"""2025-11-23 12:00 UTC, a Sunday."""


FORMAT = {format.name: format for format in FORMATS}


class FakeWal:
    """Keeps rows; refuses them at once with `full`, or fails to write them with `failure`."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.full = self.failure = ""

    def refusal(self) -> str:
        return self.full

    def append(self, rows: list[Row], waiter: Waiter) -> None:
        if not self.failure:
            self.rows += rows
        waiter(self.failure)


class FakeGate:
    """Knows the tokens `collect`, `read` and `one-site`."""

    def known(self, authorization: str | None) -> Principal | None:
        name = (authorization or "").removeprefix("Bearer ")
        if name in ("collect", "read"):
            return Token(token_id=name, role=Role(name)).principal()
        one_site = Token(token_id=name, role=Role.COLLECT, sites=("a.example",)).principal()
        return one_site if name == "one-site" else None

    async def authenticate(self, authorization: str | None) -> Principal:
        if (found := self.known(authorization)) is None:
            raise Unauthorized("The token is not known.")
        return found

    def keep_fresh(self) -> bool:
        """Nothing to refresh."""
        return True

    async def freshen(self) -> None:
        """Nothing to wait for."""


class World:
    """Everything between a request's bytes and the log."""

    def __init__(
        self,
        *,
        visitor: bool = True,
        sites: SitesSection | None = None,
        first_session: int = 1,
        opted_out: Collection[tuple[str, str]] = (),
        geo: GeoLocator | None = None,
        **settings: Any,
    ) -> None:
        limits = {name: settings.pop(name) for name in list(settings) if name in LimitsSection.__struct_fields__}
        self.now = NOON
        self.settings = CollectSection(**settings)
        self.limits = LimitsSection(**limits)
        self.wal = FakeWal()
        self.registry = CollectorRegistry()
        self.sites = Sites(cast(Store, None), sites or SitesSection())
        self.noted: list[tuple[str, int, str, str, str, int, bool]] = []
        self.drops = DropCounts(self.sites.stored_id, self.clock, lambda *drop: self.noted.append(drop))
        self.duplicates = Duplicates(
            window_s=self.settings.duplicate_window_s, capacity=self.settings.max_duplicate_ids, clock=self.clock
        )
        self.sessions = Sessions(
            timeout_s=self.settings.session_timeout_s,
            client_timeout_s=self.settings.client_session_timeout_s,
            capacity=self.settings.max_sessions,
            clock=self.clock,
            new_id=iter(f"s{number:016x}" for number in range(first_session, first_session + 1_000_000)).__next__,
        )
        parts = Parts(
            sites=self.sites,
            urls=UrlCleaner(
                self.settings.query_keys,
                self.settings.mask_emails,
                self.limits.url_chars,
                strip_slash=self.settings.trailing_slash == "strip",
            ),
            bots=BotDetector(100),
            agents=AgentParser(100),
            geo=geo or GeoLocator(""),
            referrers=ReferrerClassifier(load_sources()),
            visitors=VisitorHasher(lambda day: day.to_bytes(32, "big"), enabled=visitor),
            sessions=self.sessions,
            duplicates=self.duplicates,
            site_limiter=RateLimiter(self.limits.site_events_per_s, 100, self.clock),
            new_sites=hourly(self.limits.address_new_sites_per_h, 100, self.clock),
            is_opted_out=lambda site_id, user_id: (site_id, user_id) in opted_out,
        )
        self.pipeline = Pipeline(parts, self.settings, self.limits, self.clock, self.drops.note)
        self.collector = Collector(
            self.pipeline,
            cast(Wal, self.wal),
            cast(Gate, FakeGate()),
            self.limits,
            CollectMetrics(self.registry),
            forget_ids=self.duplicates.forget,
            losses=lambda: self.duplicates.losses,
            note=self.drops.note,
            clock=self.clock,
        )

    def clock(self) -> float:
        return self.now

    async def send(
        self,
        beacon: object,
        *,
        kind: str = "track",
        address: str = "192.0.2.1",
        token: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> BeaconAnswer:
        """One request; headers by lower-case names."""
        body = beacon if isinstance(beacon, bytes) else msgspec.json.encode(beacon)
        sent = {"user-agent": USER_AGENT, **(headers or {})}
        if token:
            sent["authorization"] = f"Bearer {token}"
        return await self.collector.collect(FORMAT[kind], body, sent, address)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What reached the log, as dictionaries."""
        names = [column.name for column in COLUMNS]
        return [dict(zip(names, row, strict=True)) for row in self.wal.rows]

    def sample(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


def answered(answer: BeaconAnswer) -> dict[str, Any]:
    return cast(dict[str, Any], msgspec.json.decode(answer.body))
