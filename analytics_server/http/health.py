"""`/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from analytics_server.http.address_file import INSTANCE_HEADER
from analytics_server.http.serving import HttpMetrics


class HealthRoutes:
    """`unreadiness`: why beacons would be refused now, or an empty text. `refresh`: called before metrics are shown."""

    def __init__(
        self,
        metrics: HttpMetrics,
        instance: str,
        *,
        unreadiness: Callable[[], Awaitable[str]],
        refresh: Callable[[], None],
    ) -> None:
        self._metrics = metrics
        self._instance = instance
        self._unreadiness = unreadiness
        self._refresh = refresh

    def routes(self) -> list[web.RouteDef]:
        """All three."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
        ]

    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers."""
        return web.json_response({"status": "ok"}, headers={INSTANCE_HEADER: self._instance})

    async def readyz(self, request: web.Request) -> web.Response:
        """503 while stopping or when beacons would be refused; not while ClickHouse is merely away."""
        if reason := await self._unreadiness():
            return web.json_response({"status": "not_ready", "reason": reason}, status=503)
        return web.json_response({"status": "ready"})

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus' text format."""
        self._refresh()
        return self._metrics.expose()
