"""Sign-in, sign-out and one's own account over HTTP: `/api/v1/session`.

Signing in sets a cookie (`http/security/session_cookie.py`), and only a page of this server may do it: a foreign page
could sign its visitor in as another person. What needs the password again counts as an attempt to sign in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import ADD_PEOPLE, VIEW_SELF, allowed
from analytics_server.access.people.accounts import Account, Accounts
from analytics_server.access.people.parts import Email, Password, principal_of, recorded
from analytics_server.access.people.sessions import KEY_CHARS, PersonSessions, SessionUse
from analytics_server.access.people.sign_in import SignIn
from analytics_server.access.principals import Principal, PrincipalKind, Role
from analytics_server.errors import Forbidden, NotFound
from analytics_server.http.answer import json_response
from analytics_server.http.audit import AuditTrail, Recorder
from analytics_server.http.authorization import ALL_SITES, PUBLIC
from analytics_server.http.body import SMALL_BODY, read_within
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, not_narrowed
from analytics_server.http.security.session_cookie import SessionCookies

Code = Annotated[str, Meta(max_length=64, description="Six digits of an authenticator app, or a recovery code.")]
_COOKIE = {"Set-Cookie": "The session."}
UNKNOWN = "unknown_session"
_SESSION = Parameter(
    name="session_id",
    about="The session's id, as the list of one's own sessions has it.",
    type=Annotated[str, Meta(pattern=f"^[0-9a-f]{{{KEY_CHARS}}}$")],
    required=True,
    example="0" * KEY_CHARS,
)
_REFUSED = {401: ("sign_in_failed",), 429: ("too_many_attempts",), 503: ("busy",)}


class Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With what one signs in. `code`: where a second factor is active."""

    email: Email
    password: Password
    code: Code = ""


class PasswordChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password so far, and the one from now on."""

    password: Password
    new_password: Password


class Confirmation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One's own password, once more."""

    password: Password


class FactorRemoval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One's own password, once more, and a code of the second factor, if it is active."""

    password: Password
    code: Code = ""


class FirstCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The code that the authenticator app shows now."""

    code: Code


class WhoAmI(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. `email`: of people only. `may_set_up_owner`: no person is an owner yet, and the caller may add one."""

    kind: PrincipalKind
    id: str
    name: str
    email: str | None
    owner: bool
    roles: dict[str, Role]
    second_factor: bool
    may_set_up_owner: bool


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What an authenticator app needs; codes are asked for once one was confirmed."""

    secret: str
    uri: str


class RecoveryCodes(msgspec.Struct, frozen=True, kw_only=True):
    """Each works once in place of a code; shown this once."""

    recovery_codes: tuple[str, ...]


class OwnSessions(msgspec.Struct, frozen=True, kw_only=True):
    """One's own sessions, the latest first."""

    sessions: list[SessionUse]


class SessionRoutes:
    """Handlers for `/api/v1/session`."""

    def __init__(
        self,
        people: Accounts,
        sessions: PersonSessions,
        sign_in: SignIn,
        cookies: SessionCookies,
        client_of: Callable[[web.Request], str],
        recorder: Recorder | None,
    ) -> None:
        """`client_of` tells clients apart; `recorder` takes audit entries of sign-ins."""
        self._recorder = recorder
        self._people = people
        self._sessions = sessions
        self._sign_in = sign_in
        self._cookies = cookies
        self._client_of = client_of

    def endpoints(self) -> list[Endpoint]:
        """The declarations."""
        return [
            Endpoint(
                method="POST",
                path="/api/v1/session",
                name="sign_in",
                summary="Sign in",
                tag="people",
                about="Sets the session's cookie. An unknown address is answered as a wrong password is.",
                action=PUBLIC,
                serve=self.sign_in,
                body=Body(
                    types=(Credentials,),
                    examples={"person": {"email": "nobody@example.org", "password": "seven green umbrellas"}},
                ),
                replies=(Reply(about="Signed in.", type=WhoAmI, headers=_COOKIE),),
                errors={**_REFUSED, 401: ("code_needed", "sign_in_failed"), 403: ("bad_origin", "only_oidc")},
                asks_store=True,
            ),
            Endpoint(
                method="GET",
                path="/api/v1/session",
                name="who_am_i",
                summary="Who the caller is",
                tag="people",
                action=VIEW_SELF,
                handle=self.who_am_i,
                narrow=not_narrowed,
                keeps_threshold=True,
                replies=(Reply(about="The caller.", type=WhoAmI),),
            ),
            Endpoint(
                method="DELETE",
                path="/api/v1/session",
                name="sign_out",
                summary="Sign out",
                tag="people",
                action=VIEW_SELF,
                handle=self.sign_out,
                replies=(Reply(status=204, about="Signed out.", headers=_COOKIE),),
                asks_store=True,
            ),
            Endpoint(
                method="GET",
                path="/api/v1/session/all",
                name="list_own_sessions",
                summary="One's own sessions",
                tag="people",
                action=VIEW_SELF,
                handle=self.list_own_sessions,
                replies=(Reply(about="The latest first.", type=OwnSessions),),
                asks_store=True,
            ),
            Endpoint(
                method="DELETE",
                path="/api/v1/session/all",
                name="sign_out_everywhere",
                summary="Sign out everywhere",
                tag="people",
                about="All sessions of the person end within a second, on all servers.",
                action=VIEW_SELF,
                handle=self.sign_out_everywhere,
                replies=(Reply(status=204, about="Signed out.", headers=_COOKIE),),
                asks_store=True,
            ),
            Endpoint(
                method="DELETE",
                path="/api/v1/session/all/{session_id}",
                name="end_own_session",
                summary="End one of one's own sessions",
                tag="people",
                about="It ends within a second, on all servers.",
                action=VIEW_SELF,
                handle=self.end_own_session,
                parameters=(_SESSION,),
                replies=(Reply(status=204, about="Ended."),),
                errors={404: (UNKNOWN,)},
                asks_store=True,
            ),
            Endpoint(
                method="PUT",
                path="/api/v1/session/password",
                name="change_password",
                summary="Change one's own password",
                tag="people",
                about="All sessions of the person end.",
                action=VIEW_SELF,
                handle=self.change_password,
                body=Body(
                    types=(PasswordChange,),
                    examples={"change": {"password": "seven green umbrellas", "new_password": "eight yellow bicycles"}},
                ),
                replies=(Reply(status=204, about="Changed: sign in again.", headers=_COOKIE),),
                errors={400: ("weak_password",), **_REFUSED},
                asks_store=True,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/session/totp",
                name="begin_second_factor",
                summary="Begin to set up a second factor",
                tag="people",
                action=VIEW_SELF,
                handle=self.begin_second_factor,
                body=Body(types=(Confirmation,), examples={"begin": {"password": "seven green umbrellas"}}),
                replies=(Reply(about="For the authenticator app.", type=Enrolment),),
                errors={409: ("second_factor_active",), **_REFUSED},
                asks_store=True,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/session/totp/confirm",
                name="confirm_second_factor",
                summary="Ask for codes from now on",
                tag="people",
                action=VIEW_SELF,
                handle=self.confirm_second_factor,
                body=Body(types=(FirstCode,), examples={"first": {"code": "123456"}}),
                replies=(Reply(about="The recovery codes, shown this once.", type=RecoveryCodes),),
                errors={400: ("bad_code",)},
                asks_store=True,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/session/totp/remove",
                name="remove_second_factor",
                summary="Ask for no code any more",
                tag="people",
                action=VIEW_SELF,
                handle=self.remove_second_factor,
                body=Body(
                    types=(FactorRemoval,),
                    examples={"remove": {"password": "seven green umbrellas", "code": "123456"}},
                ),
                replies=(Reply(status=204, about="Removed."),),
                errors={**_REFUSED, 401: ("code_needed", "sign_in_failed")},
                asks_store=True,
            ),
        ]

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Raises an `AnalyticsError`."""

        async def answer(trail: AuditTrail) -> web.Response:
            self._cookies.check_origin(request, may_lack=True)
            text = await read_within(request, SMALL_BODY.most_bytes, SMALL_BODY.too_large)
            given: Credentials = SMALL_BODY.decode(text, Credentials)
            if (known := self._people.by_email(given.email.strip().lower())) is not None:
                trail.resource = known.id
            person, secret, life_s = await self._sign_in.sign_in(
                given.email, given.password, given.code, self._client_of(request)
            )
            trail.caller = person.principal()
            response = json_response(self._who(person.principal()), status=200)
            self._cookies.set(request, response, secret, life_s)
            return response

        return await recorded(self._recorder, VIEW_SELF, "sign_in", answer)

    async def who_am_i(self, call: Call[None]) -> WhoAmI:
        """The caller."""
        return self._who(principal_of(call))

    async def sign_out(self, call: Call[None]) -> web.StreamResponse:
        """End this session. Raises `Forbidden` for a token."""
        self._person(call)
        await self._sessions.end(self._cookies.secret(call.request))
        return self._without_cookie(call)

    async def list_own_sessions(self, call: Call[None]) -> OwnSessions:
        """Raises `Forbidden` for a token."""
        person, secret = self._person(call), self._cookies.secret(call.request)
        return OwnSessions(sessions=await self._sessions.of_person(person, secret))

    async def end_own_session(self, call: Call[None]) -> None:
        """Raises `Forbidden` for a token, `NotFound`."""
        if not await self._sessions.end_one(self._person(call).id, call.path("session_id")):
            raise NotFound("You have no session of that id: GET /api/v1/session/all lists them.", code=UNKNOWN)

    async def sign_out_everywhere(self, call: Call[None]) -> web.StreamResponse:
        """End all sessions. Raises `Forbidden` for a token."""
        await self._sessions.end_all(self._person(call).id)
        return self._without_cookie(call)

    async def change_password(self, call: Call[PasswordChange]) -> web.StreamResponse:
        """Raises as `SignIn.change_password` does."""
        body, client = call.body, self._client_of(call.request)
        await self._sign_in.change_password(self._person(call), body.password, body.new_password, client)
        return self._without_cookie(call)

    async def begin_second_factor(self, call: Call[Confirmation]) -> Enrolment:
        """Raises as `SignIn.begin_second_factor` does."""
        person = self._person(call)
        await self._sign_in.confirm(person, call.body.password, self._client_of(call.request))
        factor = await self._sign_in.begin_second_factor(person)
        return Enrolment(secret=factor.secret, uri=factor.uri(person.email))

    async def confirm_second_factor(self, call: Call[FirstCode]) -> RecoveryCodes:
        """Raises as `SignIn.confirm_second_factor` does."""
        return RecoveryCodes(
            recovery_codes=await self._sign_in.confirm_second_factor(self._person(call), call.body.code)
        )

    async def remove_second_factor(self, call: Call[FactorRemoval]) -> None:
        """Raises as `SignIn.sign_in` does."""
        person = self._person(call)
        await self._sign_in.confirm(person, call.body.password, self._client_of(call.request))
        await self._sign_in.remove_second_factor(person, call.body.code)

    def _person(self, call: Call[Any]) -> Account:
        caller = principal_of(call)
        person = self._people.person(caller.id) if caller.kind is PrincipalKind.PERSON else None
        if person is None:
            raise Forbidden("Only people who have signed in have a session: a token has none.")
        return person

    def _who(self, principal: Principal) -> WhoAmI:
        person = self._people.person(principal.id) if principal.kind is PrincipalKind.PERSON else None
        owns = any(grant.role is Role.OWNER for grant in principal.grants)
        return WhoAmI(
            kind=principal.kind,
            id=principal.id,
            name=principal.name,
            email=person.email if person else None,
            owner=owns,
            roles={site: grant.role for grant in principal.grants if grant.role for site in grant.sites},
            second_factor=person.has_second_factor if person else False,
            may_set_up_owner=not principal.expires_at_ms
            and allowed(principal, ADD_PEOPLE, ALL_SITES)
            and not self._people.has_owner(),
        )

    def _without_cookie(self, call: Call[Any]) -> web.Response:
        response = web.Response(status=204)
        self._cookies.clear(call.request, response)
        return response
