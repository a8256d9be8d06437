"""The analyses of one server: cohorts, paths, sessions, funnels and experiments, with their routes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from analytics_server.access.sites.sites import Sites
from analytics_server.analyses.experiments.directory import Directory
from analytics_server.analyses.experiments.routes import ExperimentRoutes
from analytics_server.analyses.experiments.saved_experiments import experiment_type
from analytics_server.analyses.funnels.materialized.definitions import SavedFunnels
from analytics_server.analyses.funnels.materialized.maintenance import FunnelMaintenance
from analytics_server.analyses.funnels.routes import endpoints as funnel_endpoints
from analytics_server.analyses.funnels.saved_funnels import funnel_type
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.analyses.routes import endpoints as analysis_endpoints
from analytics_server.http.endpoint import Endpoint
from analytics_server.query.context import QueryContext
from analytics_server.saved.store import Saved
from analytics_server.saved.types import SavedType
from analytics_server.store import Store


class AnalysesService:
    """`now` gives the time with its zone; `cluster` is "" for one server."""

    def __init__(
        self, store: Store, sites: Sites, saved: Saved, context: QueryContext, now: Callable[[], datetime], cluster: str
    ) -> None:
        self._context = context
        self._saved_funnels = SavedFunnels(saved)
        self._experiments = Directory(saved)
        self.funnel_tables = FunnelMaintenance(store, self._saved_funnels, sites, now, cluster=cluster)
        self.funnels = FunnelService(context, self._saved_funnels, self.funnel_tables)

    def endpoints(self) -> list[Endpoint]:
        """All endpoints; handlers raise `AnalyticsError`."""
        return [
            *analysis_endpoints(self._context),
            *funnel_endpoints(self.funnels, self._context),
            *ExperimentRoutes(self._context, self._experiments).endpoints(),
        ]

    def saved_types(self) -> list[SavedType]:
        """What can be saved for the analyses."""
        return [
            funnel_type(self._context, self._saved_funnels, self.funnel_tables),
            experiment_type(self._context, self._experiments),
        ]
