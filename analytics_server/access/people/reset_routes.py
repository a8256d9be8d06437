"""Password reset over HTTP: `POST /api/v1/session/reset`. The link itself is an invitation's."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from aiohttp import web

from analytics_server.access.actions import VIEW_SELF
from analytics_server.access.people.accounts import Accounts
from analytics_server.access.people.parts import Email, recorded
from analytics_server.access.people.resets import PasswordResets
from analytics_server.http.audit import AuditTrail, Recorder
from analytics_server.http.authorization import PUBLIC
from analytics_server.http.body import SMALL_BODY, read_within
from analytics_server.http.declaration import Body, Reply
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.security.session_cookie import SessionCookies
from analytics_server.spelling.email_address import valid_email


class ResetRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose password was forgotten."""

    email: Email


class ResetRoutes:
    """`client_of` tells clients apart; `recorder` takes audit entries."""

    def __init__(
        self,
        resets: PasswordResets,
        people: Accounts,
        cookies: SessionCookies,
        client_of: Callable[[web.Request], str],
        recorder: Recorder | None,
    ) -> None:
        self._resets = resets
        self._people = people
        self._cookies = cookies
        self._client_of = client_of
        self._recorder = recorder

    def endpoints(self) -> list[Endpoint]:
        """The declarations."""
        return [
            Endpoint(
                method="POST",
                path="/api/v1/session/reset",
                name="request_reset",
                summary="Ask for a link to set a new password",
                tag="people",
                about="Needs `[mail]`. The answer is the same whether there is an account or not; the link is sent to "
                "the account's address.",
                action=PUBLIC,
                serve=self.request,
                body=Body(types=(ResetRequest,), examples={"person": {"email": "nobody@example.org"}}),
                replies=(Reply(status=204, about="If there is such an account, a link is sent to it."),),
                errors={
                    400: ("bad_email",),
                    403: ("bad_origin", "mail_off", "only_oidc"),
                    429: ("too_many_attempts",),
                },
            )
        ]

    async def request(self, request: web.Request) -> web.StreamResponse:
        """Raises an `AnalyticsError`."""

        async def answer(trail: AuditTrail) -> web.Response:
            trail.in_background = True  # an entry that is waited for would tell by its time
            self._cookies.check_origin(request, may_lack=True)
            text = await read_within(request, SMALL_BODY.most_bytes, SMALL_BODY.too_large)
            given: ResetRequest = SMALL_BODY.decode(text, ResetRequest)
            email = valid_email(given.email)
            if (known := self._people.by_email(email)) is not None:
                trail.resource = known.id
            self._resets.request(email, self._client_of(request))
            return web.Response(status=204)

        return await recorded(self._recorder, VIEW_SELF, "request_reset", answer)
