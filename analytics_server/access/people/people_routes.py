"""People over HTTP: `/api/v1/people`. An owner manages all, an admin of sites the people of those sites.

Constraint: a caller can't give a right that they lack, and nothing is told of people without a role on the
caller's sites.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from analytics_server.access.actions import ADD_PEOPLE, MANAGE_PEOPLE
from analytics_server.access.people.accounts import ID_BYTES, Account, Accounts, Rights
from analytics_server.access.people.parts import (
    Email,
    Password,
    PersonInfo,
    PersonName,
    SiteRole,
    SiteRoles,
    check_may_give,
    check_sites_exist,
    checked_name,
    managed_sites,
    person_info,
    rights_of,
    role_details,
    site_id_of,
)
from analytics_server.access.people.passwords import Passwords, check_password
from analytics_server.access.principals import Role
from analytics_server.access.sites.site_settings import MAX_LISTED, SiteId
from analytics_server.errors import Forbidden, NotFound
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint
from analytics_server.spelling.email_address import valid_email


class PersonRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new person, with a password that they should change."""

    email: Email
    password: Password
    name: PersonName = ""
    owner: bool = False
    roles: SiteRoles = {}


class PersonChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change; what is left out stays. `roles`: by site, null takes the role away; other sites stay."""

    name: PersonName | None = None
    owner: bool | None = None
    roles: Annotated[dict[SiteId, SiteRole | None], Meta(max_length=MAX_LISTED)] = {}


class PeopleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The people that the caller manages, the eldest first."""

    people: list[PersonInfo]


_PERSON = Parameter(
    name="person_id",
    about="The person's id.",
    type=Annotated[str, Meta(pattern=f"^[0-9a-f]{{{2 * ID_BYTES}}}$")],
    required=True,
)
_UNKNOWN_PERSON = {404: ("unknown_person",)}


class PeopleRoutes:
    """Handlers for `/api/v1/people`."""

    def __init__(self, people: Accounts, passwords: Passwords, has_site: Callable[[str], bool]) -> None:
        self._has_site = has_site
        self._people = people
        self._passwords = passwords

    def endpoints(self) -> list[Endpoint]:
        """The declarations."""
        return [
            Endpoint(
                method="GET",
                path="/api/v1/people",
                name="list_people",
                summary="The people that the caller manages",
                tag="people",
                about="An admin of sites sees those with a role on them, and of their roles those on these sites.",
                action=MANAGE_PEOPLE,
                handle=self.list_people,
                replies=(Reply(about="The eldest first.", type=PeopleAnswer),),
                asks_store=True,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/people",
                name="add_person",
                summary="Add a person with a password",
                tag="people",
                about="Needs an owner. An invitation leaves the choice of the password to the person.",
                action=ADD_PEOPLE,
                handle=self.add_person,
                body=Body(
                    types=(PersonRequest,),
                    examples={
                        "editor": {
                            "email": "anna@example.org",
                            "password": "seven green umbrellas",
                            "name": "Anna",
                            "roles": {"example.com": "editor"},
                        }
                    },
                ),
                replies=(Reply(status=201, about="Added.", type=PersonInfo),),
                errors={
                    400: ("bad_email", "bad_name", "bad_roles", "bad_site", "weak_password"),
                    404: ("unknown_site",),
                    409: ("person_exists", "too_many"),
                    503: ("busy",),
                },
                asks_store=True,
            ),
            Endpoint(
                method="GET",
                path="/api/v1/people/{person_id}",
                name="get_person",
                summary="One person",
                tag="people",
                action=MANAGE_PEOPLE,
                handle=self.show_person,
                parameters=(_PERSON,),
                replies=(Reply(about="The person.", type=PersonInfo),),
                errors=_UNKNOWN_PERSON,
                asks_store=True,
            ),
            Endpoint(
                method="PUT",
                path="/api/v1/people/{person_id}",
                name="change_person",
                summary="Change a person's roles or name",
                tag="people",
                about="Who has no role left is deleted. All servers know within a second.",
                action=MANAGE_PEOPLE,
                handle=self.change_person,
                parameters=(_PERSON,),
                body=Body(types=(PersonChange,), examples={"roles": {"roles": {"example.com": "viewer"}}}),
                replies=(Reply(about="The person as they are now.", type=PersonInfo),),
                errors={400: ("bad_name", "bad_site"), 404: ("unknown_person", "unknown_site"), 409: ("last_owner",)},
                asks_store=True,
            ),
            Endpoint(
                method="DELETE",
                path="/api/v1/people/{person_id}",
                name="delete_person",
                summary="Delete a person, or take away their roles on the caller's sites",
                tag="people",
                about="Their sessions end within a second, on all servers.",
                action=MANAGE_PEOPLE,
                handle=self.delete_person,
                parameters=(_PERSON,),
                replies=(Reply(status=204, about="Deleted."),),
                errors={409: ("last_owner",), **_UNKNOWN_PERSON},
                asks_store=True,
            ),
        ]

    async def list_people(self, call: Call[None]) -> PeopleAnswer:
        """Those with a role on the caller's sites."""
        await self._people.load()
        own = managed_sites(call)
        return PeopleAnswer(people=[person_info(each, own) for each in self._people.all() if _is_among(each, own)])

    async def add_person(self, call: Call[PersonRequest]) -> PersonInfo:
        """Make a person. Raises `RequestError`, `Conflict`."""
        wanted = call.body
        email, name, rights = (
            valid_email(wanted.email),
            checked_name(wanted.name),
            rights_of(wanted.owner, wanted.roles),
        )
        check_may_give(call, rights)
        check_sites_exist(rights, self._has_site)
        check_password(wanted.password, email)
        hash_ = await self._passwords.hash(wanted.password)
        person = await self._people.add(email, name=name, rights=rights, password_hash=hash_)
        call.trail.resource = person.id
        call.trail.tell_sites(role_details(Rights(), person.rights))
        return person_info(person)

    async def show_person(self, call: Call[None]) -> PersonInfo:
        """One person. Raises `NotFound`."""
        await self._people.load()
        return person_info(self._known(call), managed_sites(call))

    async def change_person(self, call: Call[PersonChange]) -> PersonInfo:
        """Change a person. Raises `NotFound`, `RequestError`, `Forbidden`, `Conflict`."""
        await self._people.load()
        change, own, known = call.body, managed_sites(call), self._known(call)
        roles = {site_id_of(site): role for site, role in change.roles.items()}
        if own is not None and (change.name is not None or change.owner is not None or not roles.keys() <= own):
            raise Forbidden("You change the roles on your own sites only, of people who have one there.")
        given = {site: Role(role) for site, role in roles.items() if role is not None}
        check_may_give(call, Rights(owner=bool(change.owner), roles=given))
        check_sites_exist(Rights(roles=given), self._has_site)
        name = None if change.name is None else checked_name(change.name)
        owner_then = known.rights.owner if change.owner is None else change.owner
        then = Rights(owner=owner_then, roles={**known.rights.without(roles).roles, **given})
        self._people.check_owner_stays(known, then)
        if then.lacks(known.rights):
            await self._people.withdraw(known.email, own)

        def changed(person: Account) -> Account:
            owner = person.rights.owner if change.owner is None else change.owner
            return msgspec.structs.replace(
                person,
                name=person.name if name is None else name,
                rights=Rights(owner=owner, roles={**person.rights.without(roles).roles, **given}),
            )

        person = await self._people.change(known.id, changed)
        now = Rights() if person is None else person.rights
        call.trail.tell_sites(role_details(known.rights, now, whole=name is not None))
        return person_info(person or _unknown(), own)

    async def delete_person(self, call: Call[None]) -> None:
        """Delete a person. Raises `NotFound`, `Conflict`."""
        await self._people.load()
        own = managed_sites(call)
        if own is None:
            person = self._people.person(call.path("person_id"))
            if person is not None:
                self._people.check_owner_stays(person, Rights())
                await self._people.withdraw(person.email)
            if not await self._people.remove(call.path("person_id")):
                _unknown()
            if person is not None:
                call.trail.tell_sites(role_details(person.rights, Rights()))
            return

        known = self._known(call)
        await self._people.withdraw(known.email, own)
        await self._people.change(known.id, lambda each: msgspec.structs.replace(each, rights=each.rights.without(own)))
        call.trail.tell_sites(role_details(known.rights, known.rights.without(own)))

    def _known(self, call: Call[Any]) -> Account:
        person = self._people.person(call.path("person_id"))
        return person if person is not None and _is_among(person, managed_sites(call)) else _unknown()


def _is_among(person: Account, own: frozenset[str] | None) -> bool:
    return own is None or not own.isdisjoint(person.rights.roles)


def _unknown() -> Any:
    raise NotFound("There is no person of that id: GET /api/v1/people lists them.", code="unknown_person")
