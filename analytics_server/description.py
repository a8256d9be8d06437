"""What all rooms' routes take and give, together: the document of `GET /openapi.json`.

Kept beside `app`, which wires the routes themselves; a test demands that the two agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analytics_server import __version__
from analytics_server.analyses import routes as analyses
from analytics_server.analyses.experiments import operations as experiments
from analytics_server.analyses.funnels import operations as funnels
from analytics_server.collect import operations as collect
from analytics_server.config import Config
from analytics_server.dashboard import routes as dashboard
from analytics_server.demo import routes as demo
from analytics_server.http import serving
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.openapi import routes as openapi
from analytics_server.http.openapi.document import build_document
from analytics_server.http.openapi.operation import Operation
from analytics_server.live import operations as live
from analytics_server.query import operations as query
from analytics_server.query.language import shapes
from analytics_server.saved import operations as saved_operations
from analytics_server.sql import operations as sql


def describe(config: Config, endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The OpenAPI document of this configuration."""
    url = config.server.public_url or "/"
    return build_document(operations(config, endpoints), version=__version__, url=url, components=shapes.components())


def operations(config: Config, endpoints: Sequence[Endpoint]) -> list[Operation]:
    """A description for each route of this configuration."""
    return [
        *collect.operations(config.tracker.collect_path, config.tracker.script_path),
        *query.operations(),
        *analyses.operations(),
        *funnels.operations(),
        *sql.operations(),
        *saved_operations.operations(),
        *experiments.operations(),
        *live.operations(),
        *endpoints,
        *serving.OPERATIONS,
        openapi.OPERATION,
        *(dashboard.operations() if config.dashboard.enabled else []),
        *(demo.operations() if config.server.demo else []),
    ]
