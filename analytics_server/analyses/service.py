"""The analyses of one server: cohorts, paths, sessions, funnels and experiments, with their routes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from analytics_server.access.joined_routes import joined
from analytics_server.access.service import AccessService
from analytics_server.analyses.experiments.operations import operations as experiment_operations
from analytics_server.analyses.experiments.routes import ExperimentRoutes
from analytics_server.analyses.funnels.materialized.definitions import SavedFunnels
from analytics_server.analyses.funnels.materialized.keeper import FunnelKeeper
from analytics_server.analyses.funnels.operations import operations as funnel_operations
from analytics_server.analyses.funnels.routes import FunnelRoutes
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.analyses.routes import endpoints as analysis_endpoints
from analytics_server.http.endpoint import Endpoint
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

    def endpoints(self) -> list[Endpoint]:
        """All endpoints; handlers raise `AnalyticsError`."""
        desk, gate = self._desk, self._access.gate
        funnels = FunnelService(desk, self._saved_funnels, self.funnel_tables)
        return [
            *analysis_endpoints(desk),
            *joined(
                FunnelRoutes(funnels, desk, self._saved_funnels, self.funnel_tables, gate).routes(),
                funnel_operations(),
            ),
            *joined(ExperimentRoutes(desk, self._access.saved, gate).routes(), experiment_operations()),
        ]
