"""The analyses of one server: cohorts, paths, sessions, funnels and experiments, with their routes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from analytics_server.access.service import AccessService
from analytics_server.analyses.experiments.routes import ExperimentRoutes
from analytics_server.analyses.funnels.materialized.definitions import SavedFunnels
from analytics_server.analyses.funnels.materialized.keeper import FunnelKeeper
from analytics_server.analyses.funnels.routes import FunnelRoutes
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.analyses.routes import routes as analysis_routes
from analytics_server.query.context import Desk
from analytics_server.store import Store


class AnalysesService:
    """`now` gives the time with its zone; `cluster` is "" for one server."""

    def __init__(
        self, store: Store, access: AccessService, desk: Desk, now: Callable[[], datetime], cluster: str
    ) -> None:
        self._access = access
        self._desk = desk
        self._saved_funnels = SavedFunnels(access.saved)
        self.funnel_tables = FunnelKeeper(store, self._saved_funnels, access.sites, now, cluster=cluster)

    def routes(self) -> list[web.RouteDef]:
        """All routes; handlers raise `AnalyticsError`."""
        desk, gate = self._desk, self._access.gate
        funnels = FunnelService(desk, self._saved_funnels, self.funnel_tables)
        return [
            *analysis_routes(desk, gate),
            *FunnelRoutes(funnels, desk, self._saved_funnels, self.funnel_tables, gate).routes(),
            *ExperimentRoutes(desk, self._access.saved, gate).routes(),
        ]
