"""Authentication: whose request it is, by a bearer token or by the session of a person's cookie."""

from __future__ import annotations

from analytics_server.access.gate import Gate
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.access.principals import Principal
from analytics_server.errors import Unauthorized
from analytics_server.http.security.session_cookie import SCHEME


class Authentication:
    """Knows tokens and sessions."""

    def __init__(self, gate: Gate, sessions: PersonSessions) -> None:
        self._gate = gate
        self._sessions = sessions

    async def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` value or of a cookie's. Raises `Unauthorized`."""
        if authorization is None:
            raise Unauthorized("Sign in, or send a token: Authorization: Bearer TOKEN.")
        scheme, _, secret = authorization.partition(" ")
        if scheme == SCHEME:
            return await self._sessions.authenticate(secret)
        return await self._gate.authenticate(authorization)
