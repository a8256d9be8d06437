"""Wiring only: config → parts → routes → lifecycle.

Owns the order of start and stop. Start: store, schema, tokens, sites, salts, what the
log still holds, open sessions, then the socket. Stop: not ready, what was accepted is
made durable and answered, all else gets 503 while the log is flushed; then the socket
closes, the slowest requests under way are answered, and the store closes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from analytics_server.access.gate import Gate, Role
from analytics_server.access.routes import AccessRoutes
from analytics_server.access.saved import Saved
from analytics_server.access.sites import Sites
from analytics_server.access.unreadable import UnreadableDocuments
from analytics_server.analyses.experiments.routes import ExperimentRoutes
from analytics_server.analyses.funnels.materialized.definitions import SavedFunnels
from analytics_server.analyses.funnels.materialized.keeper import FunnelKeeper
from analytics_server.analyses.funnels.routes import FunnelRoutes
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.analyses.routes import routes as analysis_routes
from analytics_server.collect.address import AddressResolver, network_of
from analytics_server.collect.collector import Collector
from analytics_server.collect.drop_counts import DropCounts
from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.bot import BotDetector
from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.collect.enrich.referrer import ReferrerClassifier, load_sources
from analytics_server.collect.enrich.url import UrlCleaner
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.restore import restore_event_ids, restore_sessions
from analytics_server.collect.identity.session import Sessions
from analytics_server.collect.identity.undelivered import Undelivered
from analytics_server.collect.identity.visitor import VisitorHasher
from analytics_server.collect.limits import RateLimiter, hourly
from analytics_server.collect.metrics import CollectMetrics
from analytics_server.collect.pipeline import Pipeline
from analytics_server.collect.protocol import Front
from analytics_server.collect.routes import CollectRoutes
from analytics_server.collect.steps.parts import Parts
from analytics_server.collect.tracker import load_script
from analytics_server.config import Config
from analytics_server.dashboard.routes import routes as dashboard_routes
from analytics_server.demo.routes import DEMO_SITE_ID
from analytics_server.demo.routes import routes as demo_routes
from analytics_server.description import describe
from analytics_server.errors import StoreError, StoreRetryable
from analytics_server.housekeeping import Housekeeping, start_collecting_young
from analytics_server.http.address_file import INSTANCE_HEADER, AddressFile
from analytics_server.http.body import BODY_TIMEOUT_S
from analytics_server.http.openapi.routes import routes as openapi_routes
from analytics_server.http.serving import (
    HttpMetrics,
    HttpProtocol,
    add_rest,
    before_routes,
    cancel,
    keep_running,
    raise_file_limit,
    wrap,
)
from analytics_server.ingest.flush.flusher import Flusher
from analytics_server.ingest.flush.merges import Merges
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal.log import STOPPING, Wal
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.listening import BACKLOG, addresses_of, open_sockets, reachable
from analytics_server.live.hub import Hub
from analytics_server.live.seed import seed_hub
from analytics_server.live.socket import LiveSockets
from analytics_server.privacy.salts import Salts
from analytics_server.query.day_totals import DayTotals
from analytics_server.query.engine import QueryService
from analytics_server.query.routes import routes as query_routes
from analytics_server.saved.checks import Askers
from analytics_server.saved.routes import saved_routes
from analytics_server.sql.routes import routes as sql_routes
from analytics_server.sql.service import SqlService
from analytics_server.store import StoreInfo, make_store, migrate
from analytics_server.store.integrity import Integrity
from analytics_server.store.parts import PartRecord, record_path

log = logging.getLogger(__name__)

START_RETRY_S = 1.0
LONG_BACKLOG_EVENTS = 100_000
BACKLOG_SEGMENTS = 4
"""With so many WAL segments waiting, what only makes answers faster waits too."""
START_DRAIN_S = 5.0
"""How long the start waits until the log of an earlier run is delivered: afterwards it goes on beside the traffic."""
DRAIN_SHARE = 0.6
ANSWER_SHARE = 0.2
"""Of the grace period: to flush what was accepted while 503 is answered, and for the slowest requests under way."""
TASK_RESTART_S = 5.0
NEW_TOKEN = "Restore a backup, or stop the server and run analytics-server token create --role admin."
RESERVED_FILES = 512
"""Of the files this process may have open: for the engine, the log and outgoing connections."""


class Server:
    """One process: everything between a socket and ClickHouse."""

    def __init__(self, config: Config, *, admin_token: str = "") -> None:
        self.config = config
        registry = CollectorRegistry()
        self._http = HttpMetrics(registry)
        self._ingest = IngestMetrics(registry)
        self._admin_token = admin_token
        self.store = make_store(config)
        unreadable = UnreadableDocuments()
        unreadable.register(registry)
        self.gate = Gate(self.store, unreadable=unreadable)
        self.sites = Sites(self.store, config.sites, unreadable=unreadable)
        self._salts = Salts(self.store)
        self._flusher = Flusher(
            self.store,
            config.ingest,
            self._ingest,
            config.data_dir / "dead-letters",
            insert_timeout_s=config.clickhouse.insert_timeout_s,
            jitter=random.Random(),
            cluster=config.clickhouse.cluster,
            has_loss=lambda: self._integrity is not None and self._integrity.has_lost("events"),
        )
        self._hub = Hub(time.time)
        self._wal = Wal(
            config.wal_dir,
            config.ingest,
            self._ingest,
            on_sealed=self._flusher.add,
            on_broken=self._on_broken,
            on_durable=self._hub.record,
        )
        self._sessions = Sessions(
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
        self._addresses = AddressResolver(config.server.trusted_proxies)
        self._geo = GeoLocator(config.geo.database, scratch_dir=config.data_dir)
        self._drops = DropCounts(lambda site_id: self.sites.get(site_id) is not None, time.time)
        self._live = LiveSockets(
            self._hub,
            self.gate,
            self.sites,
            config.limits,
            drops_of=self._drops.of_site,
            address_of=self._address_of,
        )
        self._collect_metrics = CollectMetrics(registry)
        self._collector = Collector(
            self._pipeline(),
            self._wal,
            self.gate,
            config.limits,
            self._collect_metrics,
            forget_ids=self._duplicates.forget,
            losses=lambda: self._duplicates.losses,
        )
        self.saved = Saved(self.store, unreadable=unreadable)
        self._queries = QueryService(self.store, self.sites, _utc_now, config.limits, self.saved)
        self._sql = SqlService(self._queries.desk, config.sql)
        self._saved_funnels = SavedFunnels(self.saved)
        self._funnels = FunnelKeeper(
            self.store, self._saved_funnels, self.sites, _utc_now, cluster=config.clickhouse.cluster
        )
        self._undelivered = Undelivered(self._duplicates, config.collect, time.time)
        self._reading: asyncio.Task[None] | None = None
        self._integrity: Integrity | None = None
        self._day_totals = DayTotals(
            self.store, self.sites, _utc_now, must_wait=lambda: self._flusher.waiting >= BACKLOG_SEGMENTS
        )
        self._merges = Merges(self.store, lambda: self._flusher.waiting)
        self._housekeeping = Housekeeping(
            self.store,
            self._flusher,
            self._sessions,
            self._geo,
            self._http,
            lambda: self._collect_metrics.accepted,
            geo_interval_s=config.geo.reload_interval_s,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self._front: Front | None = None
        self._sockets: list[asyncio.Server] = []
        self._address_file = AddressFile(config.data_dir)
        self._stopping = False
        self.broken = asyncio.Event()
        self.address = (config.server.host, config.server.port)
        """Where a client on this machine reaches it, once it has started."""
        self.new_admin_token = ""

    def _pipeline(self) -> Pipeline:
        config = self.config
        agents = AgentParser(config.collect.user_agent_cache)
        parts = Parts(
            sites=self.sites,
            urls=UrlCleaner(config.collect.query_keys, config.collect.mask_emails, config.limits.url_chars),
            bots=BotDetector(config.collect.user_agent_cache),
            agents=agents,
            geo=self._geo,
            referrers=ReferrerClassifier(load_sources()),
            visitors=VisitorHasher(self._salts.of, enabled=config.privacy.visitor == "daily"),
            sessions=self._sessions,
            duplicates=self._duplicates,
            site_limiter=RateLimiter(config.limits.site_events_per_s, 2 * config.sites.max_sites, time.monotonic),
            new_sites=hourly(config.limits.address_new_sites_per_h, config.limits.limiter_addresses, time.monotonic),
        )
        return Pipeline(parts, config.collect, config.limits, time.time, self._drops.note)

    # ---- life ----------------------------------------------------------

    async def start(self) -> StoreInfo:
        """Bring everything up; returns which engine answers. Raises an `AnalyticsError`."""
        started = time.perf_counter()
        left_over = self._wal.open()  # first: its lock keeps a second server off the directory, with a clear error
        self._address_file.remove()  # of a run that was killed
        reading = self._reading = asyncio.create_task(self._read_log(left_over), name="reading")
        info = await self._open_store()
        integrity = self._integrity = self._watch_parts(info)
        await integrity.inspect()
        applied = await migrate(self.store, cluster=self.config.clickhouse.cluster)
        await integrity.reading("tokens", self.gate.load)
        await self._ensure_admin(integrity)
        await integrity.reading("sites", self.sites.load)
        if integrity.has_lost("sites"):
            self.sites.take_all()
        await integrity.reading("saved", self.saved.load)
        await integrity.reading("salts", self._salts.load)
        self._wal.start()
        if left_over:
            events = sum(sealed.events for sealed in left_over)
            log.info("delivering what the log still holds", extra={"segments": len(left_over), "events": events})
        await reading
        await self._restore(left_over, integrity)
        try:
            await seed_hub(self._hub, self.store, time.time())
        except StoreError as error:
            log.warning("live numbers begin empty", extra={"reason": error.message[:200]})
        if self.config.server.demo:
            self.sites.get_or_create(DEMO_SITE_ID)
        if self._geo.error:
            log.warning("countries stay empty", extra={"reason": self._geo.error})
        self._http.clickhouse_up.set(1)
        self.sites.start()
        await integrity.reading("salts", self._salts.load)  # another server may have made today's at the same moment
        self._salts.start()
        self._own(self.saved.run, "saved")
        self._own(self._live.run, "live")
        self._own(self._http.watch_loop, "loop-lag")
        self._own(self._housekeeping.run, "housekeeping")
        self._own(integrity.run, "integrity")
        if info.kind == "embedded":
            self._own(self._merges.run, "merges")
        self._own(self._day_totals.run, "day-totals")
        self._own(self._funnels.run, "saved-funnels")
        start_collecting_young()
        await self._listen()
        log.info(
            "started",
            extra={
                "engine": info.kind,
                "clickhouse": info.version,
                "migrations": len(applied),
                "seconds": round(time.perf_counter() - started, 2),
            },
        )
        return info

    async def stop(self) -> None:
        """Drain and close; what could not be flushed in time stays in the log. Also after a start that failed."""
        self._stopping = self._undelivered.stop = True
        started = time.perf_counter()
        grace = self.config.server.shutdown_grace_s
        if self._reading is not None:
            await asyncio.wait({self._reading})
        await self._wal.stop()
        await self._live.close()
        await cancel(self._tasks)
        left_s = max(1.0, grace * DRAIN_SHARE - (time.perf_counter() - started)) if self._sockets else 0.0
        drained = await self._flusher.drain(left_s)
        if self._front is not None and self._sockets:
            for listening in self._sockets:
                listening.close()
            self._address_file.remove()
            await self._front.settle(grace * ANSWER_SHARE)
        if self._runner is not None:
            await self._runner.cleanup()
        await self._sql.close()
        await self._flusher.close()
        await self._wal.close()  # only now may another server deliver from this directory
        await self._salts.close()
        await self.sites.close()
        if self._integrity is not None:
            await self._integrity.close()
        await self.store.close()
        self._geo.close()
        if self._sockets:
            log.info("stopped", extra={"drained": drained, "seconds": round(time.perf_counter() - started, 2)})

    async def _open_store(self) -> StoreInfo:
        deadline = time.monotonic() + self.config.clickhouse.start_timeout_s
        while True:
            try:
                return await self.store.open()
            except StoreRetryable as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("waiting for ClickHouse", extra={"reason": error.message[:200]})
                await asyncio.sleep(START_RETRY_S)

    def _watch_parts(self, info: StoreInfo) -> Integrity:
        record = PartRecord(record_path(self.config.data_dir))
        registry, delivered = self._http.registry, lambda: self._flusher.delivered
        return Integrity(self.store, record, registry, delivered, embedded=info.kind == "embedded")

    async def _restore(self, left_over: list[Sealed], integrity: Integrity) -> None:
        """Know the open sessions and the event ids of the last run again, and begin to deliver what it left.

        A short backlog is waited for, a long one is delivered beside the traffic.
        """
        is_long = sum(sealed.events for sealed in left_over) > LONG_BACKLOG_EVENTS
        if not is_long:
            self._deliver(left_over)
            if left_over:
                await self._flusher.drain(START_DRAIN_S)
        now, settings = time.time(), self.config.collect
        sessions = partial(restore_sessions, self._sessions, self.store, now, settings)
        await integrity.reading("sessions", sessions)
        ids = partial(restore_event_ids, self._duplicates, self.store, now, settings, read=left_over)
        await integrity.reading("events", ids)
        self._duplicates.settle()
        self._undelivered.apply(self._sessions)
        for site_id in self._undelivered.sites:  # the row of a new one may have died with the process
            self.sites.get_or_create(site_id)
        if is_long:
            self._deliver(left_over)

    def _deliver(self, left_over: list[Sealed]) -> None:
        self._flusher.start(self._wal, left_over).add_done_callback(self._flusher_ended)

    async def _read_log(self, left_over: list[Sealed]) -> None:
        """While the store is opened: it takes about a second per million events."""
        if left_over:
            started = time.perf_counter()
            await asyncio.to_thread(self._undelivered.read, left_over)
            log.info("read what the log still holds", extra={"seconds": round(time.perf_counter() - started, 1)})

    async def _ensure_admin(self, integrity: Integrity) -> None:
        if self._admin_token:
            self.gate.accept(self._admin_token, Role.ADMIN, "ANALYTICS_ADMIN_TOKEN")
        elif integrity.has_lost("tokens"):  # whoever reads this server's output must not become an admin by damage
            log.error("no admin token is made, because tokens are lost", extra={"remedy": NEW_TOKEN})
        elif not any(principal.role is Role.ADMIN for principal in self.gate.tokens()):
            self.new_admin_token = await self.gate.create(Role.ADMIN, name="first start")

    async def _listen(self) -> None:
        config = self.config
        app = web.Application()
        app[BODY_TIMEOUT_S] = config.limits.body_timeout_s
        app.router.add_routes(wrap(self.routes(), self._http))
        add_rest(app, self._http)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,
            handle_signals=False,
            shutdown_timeout=config.server.shutdown_grace_s * ANSWER_SHARE,
        )
        await self._runner.setup()
        inner = self._runner.server
        assert inner is not None
        inner.request_handler = before_routes(inner.request_handler, self._http)
        loop = asyncio.get_running_loop()
        self._front = Front(
            self._collector,
            self._addresses,
            config.tracker.collect_path,
            lambda: HttpProtocol(inner, loop=loop, **inner._kwargs),
            self._http.route(config.tracker.collect_path),
            most_connections=max(RESERVED_FILES, raise_file_limit() - RESERVED_FILES),
        )
        sockets = open_sockets(config.server.host, config.server.port)
        bound = addresses_of(sockets)
        for bound_socket in sockets:
            self._sockets.append(await loop.create_server(self._front, sock=bound_socket, backlog=BACKLOG))
        self.address = reachable(bound)[0]
        self._address_file.write(bound)
        self._own(self._front.sweep, "idle-connections")

    def routes(self) -> list[web.RouteDef]:
        """All routes of this configuration."""
        config = self.config
        tracker = config.tracker
        collect = CollectRoutes(
            self._collector,
            self._addresses,
            load_script(tracker.collect_path, tracker.script_path),
            tracker.collect_path,
            tracker.script_path,
            held_bytes=config.limits.unfinished_bodies_mb << 20,
            body_timeout_s=config.limits.body_timeout_s,
        )
        found = [
            *collect.routes(),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._metrics),
            *query_routes(self._queries, self.gate),
            *analysis_routes(self._queries.desk, self.gate),
            *self._funnel_routes(),
            *sql_routes(self._sql, self.gate, config.limits),
            *saved_routes(Askers(self._queries, self._sql), self.saved, self.gate),
            *ExperimentRoutes(self._queries.desk, self.saved, self.gate).routes(),
            *self._live.routes(),
            *AccessRoutes(self.gate, self.sites, self._drops.of_unknown_sites).routes(),
            *openapi_routes(lambda: describe(config)),
        ]
        if config.dashboard.enabled:
            found += dashboard_routes(script_path=tracker.script_path, query_rows=config.limits.query_rows)
        if config.server.demo:
            found += demo_routes(tracker.script_path)
        return found

    def _funnel_routes(self) -> list[web.RouteDef]:
        service = FunnelService(self._queries.desk, self._saved_funnels, self._funnels)
        return FunnelRoutes(service, self._queries.desk, self._saved_funnels, self._funnels, self.gate).routes()

    # ---- operations ----------------------------------------------------

    def _address_of(self, request: web.Request) -> str:
        """The network that a client is counted by."""
        forwarded = request.headers.getall("X-Forwarded-For", ())
        return network_of(self._addresses.resolve(request.remote or "", forwarded))

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"}, headers={INSTANCE_HEADER: self._address_file.instance})

    async def _readyz(self, request: web.Request) -> web.Response:
        """503 while stopping or when beacons would be refused; not while ClickHouse is merely away."""
        reason = STOPPING if self._stopping else await self._wal.unreadiness()
        if reason:
            return web.json_response({"status": "not_ready", "reason": reason}, status=503)
        return web.json_response({"status": "ready"})

    async def _metrics(self, request: web.Request) -> web.Response:
        self._ingest.wal_oldest_age.set(self._flusher.oldest_age_s(time.time()))
        return self._http.expose()

    def _on_broken(self, reason: str) -> None:
        """The log can't be trusted any more: the process must end."""
        log.critical("the log can't go on, stopping", extra={"reason": reason})
        self.broken.set()

    def _flusher_ended(self, task: asyncio.Task[None]) -> None:
        if not self._stopping and not task.cancelled():
            self._on_broken(f"the flusher has died ({type(task.exception()).__name__})")

    def _own(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._tasks.append(asyncio.create_task(keep_running(work, name, TASK_RESTART_S), name=name))


def _utc_now() -> datetime:
    return datetime.now(UTC)
