"""Authentication: whose request it is, by a bearer token, an opened share link, or the session of a person's cookie."""

from __future__ import annotations

from analytics_server.access.gate import Gate
from analytics_server.access.links.share_links import ShareLinks
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.access.principals import Principal
from analytics_server.access.stored_link import SECRET_PREFIX
from analytics_server.errors import Unauthorized
from analytics_server.http.security.session_cookie import SCHEME


class Authentication:
    """Knows tokens, sessions and share links."""

    def __init__(self, gate: Gate, sessions: PersonSessions, links: ShareLinks) -> None:
        self._gate = gate
        self._sessions = sessions
        self._links = links

    async def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` value or of a cookie's. Raises `Unauthorized`."""
        if authorization is None:
            raise Unauthorized("Sign in, or send a token: Authorization: Bearer TOKEN.")
        scheme, _, secret = authorization.partition(" ")
        if scheme == SCHEME:
            return await self._sessions.authenticate(secret)
        if scheme.lower() == "bearer" and secret.startswith(SECRET_PREFIX):
            return await self._links.authenticate(secret)
        return await self._gate.authenticate(authorization)
