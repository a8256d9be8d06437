"""Endpoints for operating the process: liveness, readiness and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from analytics_server.http.address_file import INSTANCE_HEADER
from analytics_server.http.answer import json_response
from analytics_server.http.authorization import PUBLIC
from analytics_server.http.declaration import Reply
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.metrics import HttpMetrics


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the process is: `ok`, `ready` or `not_ready`, then with the reason."""

    status: Literal["ok", "ready", "not_ready"]
    reason: str | UnsetType = UNSET


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

    def endpoints(self) -> list[Endpoint]:
        """All three."""
        return [
            Endpoint(
                method="GET",
                path="/healthz",
                name="get_health",
                summary="Does the process live?",
                tag="operations",
                action=PUBLIC,
                serve=self.healthz,
                replies=(Reply(about="It does.", type=Health),),
            ),
            Endpoint(
                method="GET",
                path="/readyz",
                name="get_readiness",
                summary="Should it get traffic?",
                tag="operations",
                action=PUBLIC,
                serve=self.readyz,
                replies=(
                    Reply(about="It should.", type=Health),
                    Reply(status=503, about="It is stopping, or its log refuses events.", type=Health),
                ),
            ),
            Endpoint(
                method="GET",
                path="/metrics",
                name="get_metrics",
                summary="Counters for Prometheus",
                tag="operations",
                action=PUBLIC,
                serve=self.metrics,
                replies=(Reply(about="Prometheus's text format.", formats=("text/plain",)),),
            ),
        ]

    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers."""
        response = json_response(Health(status="ok"))
        response.headers[INSTANCE_HEADER] = self._instance
        return response

    async def readyz(self, request: web.Request) -> web.Response:
        """503 while stopping or when beacons would be refused; not while ClickHouse is merely away."""
        if reason := await self._unreadiness():
            return json_response(Health(status="not_ready", reason=reason), status=503)
        return json_response(Health(status="ready"))

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus' text format."""
        self._refresh()
        return self._metrics.expose()
