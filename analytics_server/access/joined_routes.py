"""Endpoints of rooms that still describe their routes beside them: each route joined to its `Operation`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from aiohttp import web

from analytics_server.access.actions import EDIT_SAVED, QUERY_SITE
from analytics_server.http.authorization import PUBLIC, Action, Public
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.openapi.operation import Operation, plain_path

ACTIONS: dict[str, Action | Public] = {"": PUBLIC, "read": QUERY_SITE, "admin": EDIT_SAVED}


def joined(routes: Iterable[web.RouteDef], operations: Iterable[Operation]) -> list[Endpoint]:
    """An endpoint for each operation. Their handlers check the rights themselves."""
    handlers = {(route.method, plain_path(route.path)): route.handler for route in routes}
    found = []
    for operation in operations:
        given = {one.name: getattr(operation, one.name) for one in fields(operation) if one.name != "role"}
        found.append(Endpoint(**given, action=ACTIONS[operation.role], serve=handlers[operation.route]))
    return found
