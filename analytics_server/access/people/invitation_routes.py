"""Invitations over HTTP: `/api/v1/invitations`. A link by which a person chooses a password, shown once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import MANAGE_PEOPLE
from analytics_server.access.people.accounts import Accounts, Invitation, Rights
from analytics_server.access.people.parts import (
    Email,
    Password,
    PersonName,
    SiteRoles,
    check_may_give,
    check_sites_exist,
    checked_name,
    managed_sites,
    recorded,
    rights_of,
    role_details,
)
from analytics_server.access.people.sign_in import SignIn
from analytics_server.access.principals import Role
from analytics_server.errors import NotFound
from analytics_server.http.answer import json_response
from analytics_server.http.audit import AuditTrail, Recorder
from analytics_server.http.authorization import PUBLIC
from analytics_server.http.body import SMALL_BODY, read_within
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint
from analytics_server.spelling.email_address import valid_email


class InvitationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is invited, to what."""

    email: Email
    name: PersonName = ""
    owner: bool = False
    roles: SiteRoles = {}


class InvitationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation that was not accepted yet, without its secret."""

    invitation_id: str
    email: str
    name: str
    owner: bool
    roles: dict[str, Role]
    expires_at: datetime
    created_at_ms: int


class NotSent(StrEnum):
    """Why no message was sent: no `[mail]`, too many to this address (`messages_per_recipient`), or the mail server."""

    MAIL_OFF = "mail_off"
    TOO_MANY_MESSAGES = "too_many_messages"
    MAIL_NOT_SENT = "mail_not_sent"


class NewInvitation(InvitationInfo, frozen=True, kw_only=True):
    """An invitation that was made. `token` is its secret, `link` the page's address with it: shown this once. `sent`:
    the mail server has taken a message with the link. `not_sent`: why it has not."""

    token: str
    link: str
    sent: bool
    not_sent: NotSent | None


class InvitationsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The invitations to the caller's sites that were not accepted yet, the oldest first."""

    invitations: list[InvitationInfo]


class Acceptance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The secret of a link, and a password: a new one, or for an account that exists its own."""

    token: Annotated[str, Meta(max_length=128)]
    password: Password
    name: PersonName = ""


class AcceptedInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """With which address to sign in now."""

    email: str


_INVITATION = Parameter(
    name="invitation_id",
    about="The invitation's id.",
    type=Annotated[str, Meta(pattern="^[0-9a-f]{12}$")],
    required=True,
)


class InvitationRoutes:
    """Handlers for `/api/v1/invitations`."""

    def __init__(
        self,
        people: Accounts,
        sign_in: SignIn,
        *,
        life_s: float,
        link_of: Callable[[web.Request, str], str],
        client_of: Callable[[web.Request], str],
        recorder: Recorder | None,
        invite_by_mail: Callable[[str, str], Awaitable[NotSent | None]],
        has_site: Callable[[str], bool],
    ) -> None:
        """`link_of` makes the page's address of a secret, `client_of` tells clients apart, `recorder` audits.

        `invite_by_mail`: sends an invitation's secret to its address, and tells why not, or None.
        """
        self._has_site = has_site
        self._invite_by_mail = invite_by_mail
        self._recorder = recorder
        self._people = people
        self._sign_in = sign_in
        self._life_s = life_s
        self._link_of = link_of
        self._client_of = client_of

    def endpoints(self) -> list[Endpoint]:
        """The declarations."""
        return [
            Endpoint(
                method="GET",
                path="/api/v1/invitations",
                name="list_invitations",
                summary="The invitations that were not accepted yet",
                tag="people",
                action=MANAGE_PEOPLE,
                handle=self.list_invitations,
                replies=(Reply(about="The oldest first.", type=InvitationsAnswer),),
                asks_store=True,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/invitations",
                name="create_invitation",
                summary="Invite a person by a link",
                tag="people",
                about="An invitation can't give a right that its maker lacks. With `[mail]` the link is sent, too.",
                action=MANAGE_PEOPLE,
                handle=self.create_invitation,
                body=Body(
                    types=(InvitationRequest,),
                    examples={"viewer": {"email": "ben@example.org", "roles": {"example.com": "viewer"}}},
                ),
                replies=(Reply(status=201, about="The link, shown this once.", type=NewInvitation),),
                errors={
                    400: ("bad_email", "bad_name", "bad_roles", "bad_site"),
                    404: ("unknown_site",),
                    409: ("too_many",),
                },
                asks_store=True,
            ),
            Endpoint(
                method="DELETE",
                path="/api/v1/invitations/{invitation_id:(?!accept$)[^/]+}",
                name="delete_invitation",
                summary="Take an invitation back",
                tag="people",
                action=MANAGE_PEOPLE,
                handle=self.delete_invitation,
                parameters=(_INVITATION,),
                replies=(Reply(status=204, about="Its link is worth nothing any more."),),
                errors={404: ("unknown_invitation",)},
                asks_store=True,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/invitations/accept",
                name="accept_invitation",
                summary="Accept an invitation, or set a new password by a link",
                tag="people",
                about="Works once. For an address that has an account already, the password is the account's.",
                action=PUBLIC,
                serve=self.accept,
                body=Body(
                    types=(Acceptance,),
                    examples={"accept": {"token": "asi_unknown", "password": "seven green umbrellas"}},
                ),
                replies=(Reply(about="Accepted: sign in.", type=AcceptedInvitation),),
                errors={
                    400: ("bad_name", "weak_password"),
                    401: ("sign_in_failed",),
                    403: ("only_oidc",),
                    404: ("unknown_invitation",),
                    409: ("person_exists", "too_many"),
                    429: ("too_many_attempts",),
                    503: ("busy",),
                },
                asks_store=True,
            ),
        ]

    async def list_invitations(self, call: Call[None]) -> InvitationsAnswer:
        """Those within the caller's sites."""
        await self._people.load()
        own = managed_sites(call)
        found = [each for each in self._people.invitations() if _is_within(each, own)]
        return InvitationsAnswer(invitations=[InvitationInfo(**shown_invitation(each)) for each in found])

    async def create_invitation(self, call: Call[InvitationRequest]) -> NewInvitation:
        """Make an invitation. Raises `RequestError`, `Forbidden`, `Conflict`."""
        wanted = call.body
        email, name, rights = (
            valid_email(wanted.email),
            checked_name(wanted.name),
            rights_of(wanted.owner, wanted.roles),
        )
        check_may_give(call, rights)
        check_sites_exist(rights, self._has_site)
        invitation, secret = await self._people.invite(
            email, name=name, rights=rights, life_s=self._life_s, created_by=call.caller.id
        )
        call.trail.resource = invitation.id
        call.trail.tell_sites(role_details(Rights(), rights))
        not_sent = await self._invite_by_mail(email, secret)
        if not_sent is None:
            call.trail.details["sent"] = "true"
        link = self._link_of(call.request, secret)
        return NewInvitation(
            **shown_invitation(invitation), token=secret, link=link, sent=not_sent is None, not_sent=not_sent
        )

    async def delete_invitation(self, call: Call[None]) -> None:
        """Delete one. Raises `NotFound`."""
        await self._people.load()
        own, id_ = managed_sites(call), call.path("invitation_id")
        found = (each for each in self._people.invitations() if each.id == id_ and _is_within(each, own))
        invitation = next(found, None)
        if invitation is None or not await self._people.uninvite(id_):
            raise NotFound("There is no invitation of that id.", code="unknown_invitation")
        call.trail.tell_sites(role_details(invitation.rights, Rights()))

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Anyone with the link. Raises an `AnalyticsError`."""

        async def answer(trail: AuditTrail) -> web.Response:
            text = await read_within(request, SMALL_BODY.most_bytes, SMALL_BODY.too_large)
            wanted: Acceptance = SMALL_BODY.decode(text, Acceptance)
            name, client = checked_name(wanted.name), self._client_of(request)
            person, given = await self._sign_in.accept(wanted.token, wanted.password, name, client)
            trail.caller, trail.resource = person.principal(), person.id
            trail.tell_sites(role_details(Rights(), given))
            return json_response(AcceptedInvitation(email=person.email), status=200)

        return await recorded(self._recorder, MANAGE_PEOPLE, "accept_invitation", answer)


def shown_invitation(invitation: Invitation) -> dict[str, Any]:
    """The members of an `InvitationInfo`."""
    return {
        "invitation_id": invitation.id,
        "email": invitation.email,
        "name": invitation.name,
        "owner": invitation.rights.owner,
        "roles": invitation.rights.roles,
        "expires_at": invitation.expires_at,
        "created_at_ms": invitation.created_at_ms,
    }


def _is_within(invitation: Invitation, own: frozenset[str] | None) -> bool:
    if own is None:
        return True
    rights = invitation.rights
    return not rights.owner and not invitation.resets and rights.roles.keys() <= own
