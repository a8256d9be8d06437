"""Shared by the routes of people, invitations and sessions: types of requests, and whose people a caller manages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import MANAGE_PEOPLE, excess
from analytics_server.access.people.accounts import Account, Rights
from analytics_server.access.people.passwords import MOST_CHARS
from analytics_server.access.principals import Principal, Role, spellings_of
from analytics_server.access.sites.site_settings import MAX_LISTED, SiteId
from analytics_server.access.sites.sites import valid_site_id
from analytics_server.access.token_routes import TokenName
from analytics_server.errors import Forbidden, NotFound, RequestError
from analytics_server.http.audit import OK, WHOLE_SERVER, AuditTrail, Recorder, SiteDetails, append_all, outcome_of
from analytics_server.http.authorization import Action
from analytics_server.http.endpoint import Call
from analytics_server.model import stored_site_id
from analytics_server.spelling.email_address import EMAIL_CHARS

Email = Annotated[str, Meta(min_length=3, max_length=EMAIL_CHARS, description="An e-mail address, in any case.")]
Password = Annotated[str, Meta(min_length=1, max_length=4 * MOST_CHARS)]
PersonName = TokenName
SiteRole = Literal["viewer", "editor", "admin"]
SiteRoles = Annotated[dict[SiteId, SiteRole], Meta(max_length=MAX_LISTED, description="A role for each of some sites.")]


class PersonInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A person as they are shown. `roles`: on the sites that the caller manages."""

    person_id: str
    email: str
    name: str
    owner: bool
    roles: dict[str, Role]
    second_factor: bool
    created_at_ms: int


def person_info(person: Account, covers: Iterable[str] | None = None) -> PersonInfo:
    """The person, with the roles on these sites (in their one spelling), or on all."""
    roles = person.rights.roles
    return PersonInfo(
        person_id=person.id,
        email=person.email,
        name=person.name,
        owner=person.rights.owner,
        roles=roles if covers is None else {site: role for site, role in roles.items() if site in covers},
        second_factor=person.has_second_factor,
        created_at_ms=person.created_at_ms,
    )


def managed_sites(call: Call[Any]) -> frozenset[str] | None:
    """The sites whose people the caller manages, in their one spelling; None for all."""
    own = [grant for grant in principal_of(call).grants if grant.allows(MANAGE_PEOPLE)]
    if any(not grant.sites for grant in own):
        return None
    return frozenset[str]().union(*(spellings_of(grant.sites) for grant in own))


def rights_of(owner: bool, roles: Mapping[str, str]) -> Rights:
    """What a request gives. Raises `RequestError` (bad_site, bad_roles)."""
    rights = Rights(owner=owner, roles={site_id_of(site): Role(role) for site, role in roles.items()})
    if rights.is_empty:
        raise RequestError("A person needs a role on a site, or is an owner: send roles, or owner.", code="bad_roles")
    return rights


def check_may_give(call: Call[Any], rights: Rights) -> None:
    """Raises `Forbidden` for rights that the caller has not."""
    if why := excess(principal_of(call), rights.grants()):
        raise Forbidden(why)


def check_sites_exist(rights: Rights, has_site: Callable[[str], bool]) -> None:
    """Raises `NotFound` (unknown_site) for a role on a site that does not exist."""
    for site_id in rights.roles:
        if not has_site(site_id):
            raise NotFound(
                f"There is no site {site_id!r}: create it before you give a role on it.", code="unknown_site"
            )


def site_id_of(text: str) -> str:
    """A site's id in its one spelling. Raises `RequestError` (bad_site)."""
    site_id = valid_site_id(text)
    if not site_id:
        raise RequestError(f"{text[:128]!r} can't be a site's id: it is a name such as example.com.", code="bad_site")
    return site_id


def checked_name(text: str) -> str:
    """A person's name. Raises `RequestError` (bad_name)."""
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text):
        raise RequestError("name holds a control character: leave it out.", code="bad_name")
    return text.strip()


def role_details(before: Rights, after: Rights, *, whole: bool = False) -> SiteDetails:
    """What audit entries say of the roles that change, by site; `whole`: and of those that stay."""
    old, new = _named_roles(before), _named_roles(after)
    return {
        place: {"role": new.get(place, "none")}
        | ({} if old.get(place) == new.get(place) else {"was": old.get(place, "none")})
        for place in sorted(old.keys() | new.keys())
        if whole or old.get(place) != new.get(place)
    }


def _named_roles(rights: Rights) -> dict[str, str]:
    roles = {stored_site_id(site): str(role) for site, role in rights.roles.items()}
    return roles | ({WHOLE_SERVER: "owner"} if rights.owner else {})


async def recorded(
    recorder: Recorder | None,
    action: Action,
    operation: str,
    answer: Callable[[AuditTrail], Awaitable[web.Response]],
) -> web.Response:
    """The answer of a public route, with an audit entry; that of a success is durable before it is sent.

    Not so where the trail says `in_background`.
    """
    trail = AuditTrail()
    try:
        response = await answer(trail)
    except BaseException as error:
        if recorder is not None:
            recorder.note(trail.entry(action.name, operation, outcome_of(error)))
        raise
    if recorder is not None:
        entries = trail.entries(action.name, operation, OK)
        if not trail.in_background:
            await append_all(recorder, entries)
        else:
            for entry in entries:
                recorder.note(entry)
    return response


def principal_of(call: Call[Any]) -> Principal:
    """The caller, whole."""
    assert isinstance(call.caller, Principal)
    return call.caller
