"""The endpoints of cohorts, paths, sessions and files of events together: what `app` wires."""

from __future__ import annotations

from analytics_server.analyses.cohorts.routes import endpoints as cohort_endpoints
from analytics_server.analyses.event_files.routes import endpoints as event_file_endpoints
from analytics_server.analyses.paths.routes import endpoints as path_endpoints
from analytics_server.analyses.sessions.routes import endpoints as session_endpoints
from analytics_server.http.endpoint import Endpoint
from analytics_server.query.context import QueryContext


def endpoints(context: QueryContext) -> list[Endpoint]:
    """All of them. Handlers raise `AnalyticsError`."""
    return [
        *cohort_endpoints(context),
        *path_endpoints(context),
        *session_endpoints(context),
        *event_file_endpoints(context),
    ]
