"""Collection of beacons by one server: the parts behind `/track`, and what they know of an earlier run."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from prometheus_client import CollectorRegistry

from analytics_server.access.service import AccessService
from analytics_server.collect.address import AddressResolver, network_of
from analytics_server.collect.collector import Collector
from analytics_server.collect.drop_counts import DropCounts, History
from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.bot import BotDetector
from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.collect.enrich.url import UrlCleaner
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.restore import restore_event_ids, restore_sessions
from analytics_server.collect.identity.session import Sessions
from analytics_server.collect.identity.undelivered import Undelivered
from analytics_server.collect.identity.visitor import VisitorHasher
from analytics_server.collect.limits import RateLimiter, hourly
from analytics_server.collect.metrics import CollectMetrics
from analytics_server.collect.pipeline import Pipeline
from analytics_server.collect.protocol import Front, Observe
from analytics_server.collect.routes import CollectRoutes
from analytics_server.collect.steps.parts import Parts
from analytics_server.collect.tracker import load_script
from analytics_server.config import Config
from analytics_server.http.endpoint import Endpoint
from analytics_server.ingest.wal.log import Wal
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.spelling.source_names import load_sources
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

Reading = Callable[[str, Callable[[], Awaitable[object]]], Awaitable[object]]
"""Reads a table that may be damaged: its name, and what reads it."""


class CollectService:
    """`salt_of`: the random salt of a UTC day. `drop_history`: hears of what is dropped and rejected.

    `is_opted_out`: must events of a user not be stored on a site?
    """

    def __init__(
        self,
        config: Config,
        access: AccessService,
        wal: Wal,
        registry: CollectorRegistry,
        is_opted_out: Callable[[str, str], bool],
        salt_of: Callable[[int], bytes],
        *,
        drop_history: History,
    ) -> None:
        self._config = config
        self._sites = sites = access.sites
        self.geo = GeoLocator(config.geo.database, scratch_dir=config.data_dir)
        self.drops = DropCounts(sites.stored_id, time.time, drop_history)
        self.sessions = Sessions(
            timeout_s=config.collect.session_timeout_s,
            client_timeout_s=config.collect.client_session_timeout_s,
            capacity=config.collect.max_sessions,
            clock=time.monotonic,
        )
        self._duplicates = Duplicates(
            window_s=config.collect.duplicate_window_s,
            capacity=config.collect.max_duplicate_ids,
            clock=time.monotonic,
        )
        self._undelivered = Undelivered(self._duplicates, config.collect, time.time)
        self._addresses = AddressResolver(config.server.trusted_proxies, config.server.client_ip_header)
        self._metrics = CollectMetrics(registry)
        self.collector = Collector(
            self._pipeline(salt_of, is_opted_out),
            wal,
            access.gate,
            config.limits,
            self._metrics,
            forget_ids=self._duplicates.forget,
            losses=lambda: self._duplicates.losses,
            note=self.drops.note,
        )

    def _pipeline(self, salt_of: Callable[[int], bytes], is_opted_out: Callable[[str, str], bool]) -> Pipeline:
        config = self._config
        parts = Parts(
            sites=self._sites,
            urls=UrlCleaner(
                config.collect.query_keys,
                config.collect.mask_emails,
                config.limits.url_chars,
                strip_slash=config.collect.trailing_slash == "strip",
            ),
            bots=BotDetector(config.collect.user_agent_cache),
            agents=AgentParser(config.collect.user_agent_cache),
            geo=self.geo,
            referrers=ReferrerClassifier(load_sources()),
            visitors=VisitorHasher(salt_of, enabled=config.privacy.visitor == "daily"),
            sessions=self.sessions,
            duplicates=self._duplicates,
            site_limiter=RateLimiter(config.limits.site_events_per_s, 2 * config.sites.max_sites, time.monotonic),
            new_sites=hourly(config.limits.address_new_sites_per_h, config.limits.limiter_addresses, time.monotonic),
            is_opted_out=is_opted_out,
        )
        return Pipeline(parts, config.collect, config.limits, time.time, self.drops.note)

    @property
    def accepted(self) -> int:
        """Events accepted so far."""
        return self._metrics.accepted

    def trusts(self, peer: str) -> bool:
        """Is this the address of a trusted proxy?"""
        return self._addresses.trusts(peer)

    def address_of(self, request: web.Request) -> str:
        """The network that a client is counted by."""
        headers = request.headers
        return network_of(self._addresses.client(request.remote or "", lambda name: headers.getall(name, ())))

    # ---- at the start --------------------------------------------------

    async def read_log(self, left_over: list[Sealed]) -> None:
        """Read what the log still holds, about a second per million events; `stop_reading` breaks it off."""
        if left_over:
            started = time.perf_counter()
            await asyncio.to_thread(self._undelivered.read, left_over)
            log.info("read what the log still holds", extra={"seconds": round(time.perf_counter() - started, 1)})

    def stop_reading(self) -> None:
        """Break off `read_log`."""
        self._undelivered.stop = True

    async def restore(self, store: Store, left_over: list[Sealed], reading: Reading) -> None:
        """Know the open sessions and the event ids of the last run again. After `read_log`. Raises a store error."""
        now, settings = time.time(), self._config.collect
        await reading("sessions", partial(restore_sessions, self.sessions, store, now, settings))
        await reading("events", partial(restore_event_ids, self._duplicates, store, now, settings, read=left_over))
        self._duplicates.settle()
        self._undelivered.apply(self.sessions)
        for site_id in self._undelivered.sites:  # the row of a new one may have died with the process
            self._sites.get_or_create(site_id)
        if self.geo.error:
            log.warning("countries stay empty", extra={"reason": self.geo.error})

    # ---- receiving ----------------------------------------------------

    def front(self, make_inner: Callable[[], RequestHandler], observe: Observe, *, most_connections: int) -> Front:
        """The protocol factory of a listening socket: beacons here, all else aiohttp's."""
        return Front(
            self.collector,
            self._addresses,
            self._config.tracker.collect_path,
            make_inner,
            observe,
            most_connections=most_connections,
        )

    def endpoints(self) -> list[Endpoint]:
        """Beacons in every format, and the tracker's script."""
        tracker, limits = self._config.tracker, self._config.limits
        return CollectRoutes(
            self.collector,
            self._addresses,
            load_script(tracker.collect_path, tracker.script_path),
            tracker.collect_path,
            tracker.script_path,
            held_bytes=limits.unfinished_bodies_mb << 20,
            body_timeout_s=limits.body_timeout_s,
        ).endpoints()
