"""Sign-in through an OpenID Connect provider over HTTP: the redirect to the provider, and its callback.

The cookie of a sign-in under way is SameSite=Lax, because the browser comes back from another site. It is of this
browser alone, holds for ten minutes, and is gone with the answer to its return. A refusal is written to the log and
shown in the dashboard by its code: what exactly was wrong is the operator's to know.
"""

from __future__ import annotations

import base64
import binascii
import logging
import time
from collections.abc import Callable
from urllib.parse import quote

import msgspec
from aiohttp import web

from analytics_server.access.actions import VIEW_SELF
from analytics_server.access.oidc.people import OidcPeople
from analytics_server.access.oidc.sign_in import PENDING_S, OidcSignIn, Pending
from analytics_server.access.people.attempts import AttemptCounter
from analytics_server.access.people.parts import recorded
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.errors import AnalyticsError
from analytics_server.http.answer import json_response
from analytics_server.http.audit import AuditTrail, Recorder
from analytics_server.http.authorization import PUBLIC
from analytics_server.http.declaration import Reply
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.security.session_cookie import SessionCookies

log = logging.getLogger(__name__)

BEGIN_PATH = "/api/v1/session/oidc"
CALLBACK_PATH = f"{BEGIN_PATH}/callback"
METHODS_PATH = "/api/v1/session/methods"
COOKIE_CHARS = 1_024


class SignInMethods(msgspec.Struct, frozen=True, kw_only=True):
    """How people may sign in. `provider`: what the button to the provider says, or "". `reset`: a new password can be
    asked for by mail."""

    password: bool
    provider: str
    reset: bool = False


def methods_endpoint(methods: SignInMethods) -> Endpoint:
    """Tells sign-in pages which forms to show."""

    async def show(request: web.Request) -> web.StreamResponse:
        return json_response(methods, status=200)

    return Endpoint(
        method="GET",
        path=METHODS_PATH,
        name="sign_in_methods",
        summary="How people may sign in",
        tag="people",
        action=PUBLIC,
        serve=show,
        replies=(Reply(about="The methods.", type=SignInMethods),),
    )


class OidcRoutes:
    """`client_of` tells clients apart, `recorder` takes audit entries; `base`: the path of `public_url`."""

    def __init__(
        self,
        flow: OidcSignIn,
        people: OidcPeople,
        sessions: PersonSessions,
        cookies: SessionCookies,
        attempts: AttemptCounter,
        *,
        base: str,
        client_of: Callable[[web.Request], str],
        recorder: Recorder | None,
    ) -> None:
        self._flow = flow
        self._people = people
        self._sessions = sessions
        self._cookies = cookies
        self._attempts = attempts
        self._base = base
        self._client_of = client_of
        self._recorder = recorder

    def endpoints(self) -> list[Endpoint]:
        """The declarations."""
        return [
            Endpoint(
                method="GET",
                path=BEGIN_PATH,
                name="begin_oidc",
                summary="Sign in through the provider",
                tag="people",
                about="For browsers: leads to the provider of `[oidc]`, or back to the dashboard if it is away.",
                action=PUBLIC,
                serve=self.begin,
                replies=(Reply(status=302, about="To the provider.", headers={"Location": "Its address."}),),
            ),
            Endpoint(
                method="GET",
                path=CALLBACK_PATH,
                name="finish_oidc",
                summary="Come back from the provider",
                tag="people",
                about="For browsers: leads to the dashboard, signed in, or with the code of what is wrong.",
                action=PUBLIC,
                serve=self.finish,
                replies=(Reply(status=302, about="To the dashboard.", headers={"Set-Cookie": "The session."}),),
            ),
        ]

    async def begin(self, request: web.Request) -> web.StreamResponse:
        """To the provider."""
        try:
            address, pending = await self._flow.begin()
        except AnalyticsError as error:
            return self._refusal(error)
        response = _redirect(address)
        text = base64.urlsafe_b64encode(msgspec.json.encode(pending)).decode().rstrip("=")
        self._cookies.set_passing(request, response, text, PENDING_S)
        return response

    async def finish(self, request: web.Request) -> web.StreamResponse:
        """To the dashboard, signed in or not."""
        client = self._client_of(request)

        async def answer(trail: AuditTrail) -> web.Response:
            self._attempts.take(client)
            began_ms, starts = int(time.time() * 1000), self._people.session_starts()
            found = await self._flow.finish(request.query, _pending(self._cookies.passing(request)))
            person = await self._people.person_of(found)
            self._attempts.forgive(client)
            # What has ended the person's sessions since it began ends this one too.
            start = msgspec.structs.replace(person, sessions_from_ms=starts.get(person.id, 0))
            secret, life_s = await self._sessions.begin(start, began_ms)
            trail.caller = person.principal()
            response = _redirect(f"{self._base}/dashboard")
            self._cookies.set(request, response, secret, life_s)
            return response

        try:
            response = await recorded(self._recorder, VIEW_SELF, "finish_oidc", answer)
        except AnalyticsError as error:
            response = self._refusal(error)
        self._cookies.set_passing(request, response, "", 0)
        return response

    def _refusal(self, error: AnalyticsError) -> web.Response:
        log.log(error.log_level, "sign-in through the provider failed", extra={"reason": error.message[:300]})
        return _redirect(f"{self._base}/dashboard#sign-in={quote(error.code)}")


def _pending(text: str) -> Pending | None:
    if not text or len(text) > COOKIE_CHARS:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Pending)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError):
        return None


def _redirect(address: str) -> web.Response:
    return web.Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})
