"""Authorization for tests of routes: known tokens, and the application's own rules."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from analytics_server.access.actions import GateAuthorizer
from analytics_server.access.principals import Principal, Role
from analytics_server.access.tokens import Token
from analytics_server.errors import Unauthorized
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.routing.routes import route_table


class KnownTokens:
    """A gate that knows these values of `Authorization`."""

    def __init__(self, principals: Mapping[str, Principal]) -> None:
        self._principals = principals

    async def authenticate(self, authorization: str | None) -> Principal:
        """Raises `Unauthorized` for others."""
        found = self._principals.get(authorization or "")
        if found is None:
            raise Unauthorized("no token")
        return found


def routes_for_a_reader(endpoints: list[Endpoint], *sites: str, token: str = "Bearer good") -> list[web.RouteDef]:
    """The endpoints' routes, open to one reader of the sites."""
    reader = Token(token_id="a-token", role=Role.READ, sites=sites).principal()
    return route_table(endpoints, GateAuthorizer(KnownTokens({token: reader})))


def public_routes(endpoints: list[Endpoint]) -> list[web.RouteDef]:
    """The endpoints' routes, where no token is known."""
    return route_table(endpoints, GateAuthorizer(KnownTokens({})))
