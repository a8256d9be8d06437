"""The routes of cohorts, paths and sessions, and their descriptions, together: what `app` wires."""

from __future__ import annotations

from aiohttp import web

from analytics_server.analyses.cohorts.operations import operations as cohort_operations
from analytics_server.analyses.cohorts.routes import routes as cohort_routes
from analytics_server.analyses.paths.operations import operations as path_operations
from analytics_server.analyses.paths.routes import routes as path_routes
from analytics_server.analyses.sessions.operations import operations as session_operations
from analytics_server.analyses.sessions.routes import routes as session_routes
from analytics_server.http.openapi.operation import Operation
from analytics_server.query.context import Desk
from analytics_server.query.routes import QueryGate


def routes(desk: Desk, gate: QueryGate) -> list[web.RouteDef]:
    """All three. Handlers raise `AnalyticsError`."""
    return [*cohort_routes(desk, gate), *path_routes(desk, gate), *session_routes(desk, gate)]


def operations() -> list[Operation]:
    """A description for each of `routes`."""
    return [*cohort_operations(), *path_operations(), *session_operations()]
