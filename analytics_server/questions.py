"""What one server answers about stored events: query, SQL, analyses and saved things, with their endpoints."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from analytics_server.access.joined_routes import joined
from analytics_server.access.service import AccessService
from analytics_server.analyses.service import AnalysesService
from analytics_server.config import Config
from analytics_server.http.endpoint import Endpoint
from analytics_server.query.day_totals import DayTotals
from analytics_server.query.engine import QueryService
from analytics_server.query.routes import endpoints as query_endpoints
from analytics_server.saved.checks import Askers
from analytics_server.saved.operations import operations as saved_operations
from analytics_server.saved.routes import saved_routes
from analytics_server.sql.routes import endpoints as sql_endpoints
from analytics_server.sql.service import SqlService
from analytics_server.store import Store


class Questions:
    """`must_wait`: work in the background that only makes answers faster has to wait."""

    def __init__(self, config: Config, store: Store, access: AccessService, *, must_wait: Callable[[], bool]) -> None:
        self._access = access
        self._queries = QueryService(store, access.sites, _utc_now, config.limits, access.saved)
        self.sql = SqlService(self._queries.desk, config.sql)
        self.analyses = AnalysesService(store, access, self._queries.desk, _utc_now, config.clickhouse.cluster)
        self.day_totals = DayTotals(store, access.sites, _utc_now, must_wait=must_wait)

    def endpoints(self) -> list[Endpoint]:
        """All endpoints; handlers raise `AnalyticsError`."""
        gate = self._access.gate
        return [
            *query_endpoints(self._queries),
            *self.analyses.endpoints(),
            *sql_endpoints(self.sql),
            *joined(saved_routes(Askers(self._queries, self.sql), self._access.saved, gate), saved_operations()),
        ]


def _utc_now() -> datetime:
    return datetime.now(UTC)
