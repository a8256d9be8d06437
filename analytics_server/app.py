"""Starts the parts of one server in order and stops them; each package builds its own part.

Start: store, schema, tokens, sites, salts, what the log still holds, open sessions, then the socket. Stop: not
ready, what was accepted is made durable and answered, all else gets 503 while the log is flushed; then the socket
closes, the slowest requests under way are answered, and the store closes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from aiohttp.web_protocol import RequestHandler

from analytics_server.access.service import AccessService
from analytics_server.audit.service import AuditService
from analytics_server.collect.protocol import Front
from analytics_server.collect.service import CollectService
from analytics_server.config import Config
from analytics_server.dashboard.routes import endpoints as dashboard_endpoints
from analytics_server.demo.routes import DEMO_SITE_ID
from analytics_server.demo.routes import endpoints as demo_endpoints
from analytics_server.housekeeping import Housekeeping, start_collecting_young
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.health import HealthRoutes
from analytics_server.http.listener import Listener
from analytics_server.http.metrics import HttpMetrics
from analytics_server.http.openapi.routes import with_document
from analytics_server.http.serving import connection_limit
from analytics_server.ingest.service import IngestService
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.lifecycle import BackgroundTasks, daily_tasks
from analytics_server.live.hub import Hub
from analytics_server.live.seed import seed_hub
from analytics_server.live.socket import LiveSockets
from analytics_server.mcp.routes import endpoints as mcp_endpoints
from analytics_server.privacy.service import PrivacyService
from analytics_server.query.language import shapes
from analytics_server.questions import Questions
from analytics_server.rollups.integrity import make_integrity
from analytics_server.store import StoreInfo, make_store, migrate, open_store

log = logging.getLogger(__name__)

LONG_BACKLOG_EVENTS = 100_000
START_DRAIN_S = 5.0
"""How long the start waits until the log of an earlier run is delivered: afterwards it goes on beside the traffic."""
DRAIN_SHARE = 0.6
ANSWER_SHARE = 0.2
"""Of the grace period: to flush what was accepted while 503 is answered, and for the slowest requests under way."""


class Server:
    """One process: everything between a socket and ClickHouse."""

    def __init__(self, config: Config, *, admin_token: str = "") -> None:
        self.config, self.http = config, HttpMetrics()
        registry = self.http.registry
        self.store = make_store(config)
        self.integrity = make_integrity(self.store, config.data_dir, registry, lambda: self.ingest.flusher.delivered)
        self.access = AccessService(config, self.store, registry, admin_token=admin_token)
        self.audit = AuditService(config, self.store, registry)
        self._hub, self._tasks = Hub(time.time), BackgroundTasks()
        has_loss = partial(self.integrity.has_lost, "events")
        self.ingest = IngestService(config, self.store, registry, on_durable=self._hub.record, has_loss=has_loss)
        common = self.store, self.access, self.audit.log, registry, self.integrity.has_lost
        asking = self._questions = Questions(config, *common, must_wait=lambda: self.ingest.is_behind)
        around = self.store, self.access, self.ingest, self.integrity, self.audit.log
        self.privacy = PrivacyService(config, *around, reload_saved=asking.saved.load, archive=asking.archive)
        parts = self.ingest.wal, registry, self.privacy.opt_outs.has, self.privacy.salts.of
        self.collect = CollectService(config, self.access, *parts, drop_history=self._questions.drops.add)
        self._live = LiveSockets(
            self._hub,
            self.access.authorizer,
            self.access.sites,
            config.limits,
            drops_of=self.collect.drops.of_site,
            address_of=self.collect.address_of,
            recorder=self.audit.log,
            cookies=self.access.people.cookies,
        )
        self.housekeeping = Housekeeping(
            self.store, self.ingest.flusher, self.collect, self.http, geo_interval_s=config.geo.reload_interval_s
        )
        self.reading: asyncio.Task[None] | None = None
        self._front: Front | None = None
        self.listener = Listener(config, self.http, trusts=self.collect.trusts, answer_share=ANSWER_SHARE)
        instance, unreadiness = self.listener.address_file.instance, self.ingest.unreadiness
        self.health = HealthRoutes(self.http, instance, unreadiness=unreadiness, refresh=self.ingest.refresh_metrics)

    # ---- life ----------------------------------------------------------

    async def start(self) -> StoreInfo:
        """Bring everything up; returns which engine answers. Raises an `AnalyticsError`."""
        started, wal, integrity = time.perf_counter(), self.ingest.wal, self.integrity
        left_over = wal.open()  # first: its lock keeps a second server off the directory, with a clear error
        self.listener.address_file.remove()  # of a run that was killed
        reading = self.reading = asyncio.create_task(self.collect.read_log(left_over), name="reading")
        info = await open_store(self.store, timeout_s=self.config.clickhouse.start_timeout_s)
        await integrity.inspect()
        applied = await migrate(self.store, cluster=self.config.clickhouse.cluster)
        await self.access.load(integrity)
        await self.audit.open(integrity)
        await integrity.reading("saved", self._questions.load)
        await self.privacy.load(integrity.reading)
        wal.start()
        await reading
        await self.privacy.clean(left_over)
        await self._restore(left_over)
        await seed_hub(self._hub, self.store, time.time())
        if self.config.server.demo:
            self.access.sites.get_or_create(DEMO_SITE_ID)
        self.http.clickhouse_up.set(1)
        self.access.start(self._tasks)
        await self.privacy.start(integrity.reading)
        self._start_tasks()
        start_collecting_young()
        await self.listener.open(self.endpoints(), self.access.authorizer, self.audit.log, self._make_front)
        facts = {"engine": info.kind, "clickhouse": info.version, "migrations": len(applied)}
        log.info("started", extra={**facts, "seconds": round(time.perf_counter() - started, 2)})
        return info

    async def stop(self) -> None:
        """Drain and close; what could not be flushed in time stays in the log. Also after a start that failed."""
        self.ingest.stopping = True
        self.collect.stop_reading()
        started, grace = time.perf_counter(), self.config.server.shutdown_grace_s
        if self.reading is not None:
            await asyncio.wait({self.reading})
        await self.ingest.wal.stop()
        await self._live.close()
        await self._tasks.cancel()
        left_s = max(1.0, grace * DRAIN_SHARE - (time.perf_counter() - started)) if self.listener.is_open else 0.0
        drained = await self.ingest.flusher.drain(left_s)
        self.listener.stop_listening()
        if self._front is not None:
            await self._front.settle(grace * ANSWER_SHARE)
        await self.listener.close()
        await self._questions.close()
        await self.ingest.flusher.close()
        await self.ingest.wal.close()  # only now may another server deliver from this directory
        await self.privacy.salts.close()
        await self.access.close()
        await self.audit.close()
        await self.integrity.close()
        await self.store.close()
        self.collect.geo.close()
        if self.listener.is_open:
            log.info("stopped", extra={"drained": drained, "seconds": round(time.perf_counter() - started, 2)})

    async def _restore(self, left_over: list[Sealed]) -> None:
        """Know the last run's sessions and event ids again; a long backlog is delivered only after that."""
        is_long = sum(sealed.events for sealed in left_over) > LONG_BACKLOG_EVENTS
        if not is_long:
            self.ingest.deliver(left_over)
            await self.ingest.flusher.drain(START_DRAIN_S)
        await self.collect.restore(self.store, left_over, self.integrity.reading)
        if is_long:
            self.ingest.deliver(left_over)

    def _start_tasks(self) -> None:
        start, asking = self._tasks.start, self._questions.tasks(removing=self.privacy.removing)
        daily = daily_tasks(self.http.registry, *self.audit.daily(), *self.privacy.daily(), *self._questions.daily())
        own = (self._live.run, "live"), (self.http.watch_loop, "loop-lag"), (self.housekeeping.run, "housekeeping")
        for work, name in (*asking, *self.audit.tasks(), *self.privacy.tasks(), *daily, *own):
            start(work, name)
        start(self.integrity.run, "integrity")
        if self.store.capabilities.owns_files:
            start(self.ingest.merges.run, "merges")

    def _make_front(self, make_inner: Callable[[], RequestHandler]) -> Front:
        observe = self.http.route(self.config.tracker.collect_path)
        self._front = self.collect.front(make_inner, observe, most_connections=connection_limit())
        self._tasks.start(self._front.sweep, "idle-connections")
        return self._front

    def endpoints(self) -> list[Endpoint]:
        """Every endpoint of this configuration, the API description included."""
        config, access, questions, audit = self.config, self.access, self._questions, self.audit.log
        found = [
            *self.collect.endpoints(),
            *questions.endpoints(),
            *self.privacy.endpoints(),
            *self._live.endpoints(),
            *access.endpoints(self.collect.drops.of_unknown_sites, self.collect.address_of, questions.links, audit),
            *self.audit.endpoints(),
            *self.health.endpoints(),
        ]
        if config.dashboard.enabled:
            script, rows, frames = config.tracker.script_path, config.limits.query_rows, access.people.links
            found += dashboard_endpoints(script_path=script, query_rows=rows, framed_by=frames.framed_by)
        if config.server.demo:
            found += demo_endpoints(config.tracker.script_path)
        found += mcp_endpoints(config, found, access.authorizer, audit, questions.sql, self._live, self.listener.hosts)
        found = questions.with_root(found)
        return with_document(found, url=config.server.public_url or "/", components=shapes.components())
