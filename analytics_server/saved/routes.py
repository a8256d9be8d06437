"""Saved things over HTTP: list, create, show, change and delete, the same for every type.

Who reads may list and see them; creating, changing and deleting needs `edit_saved`. Of a type that has private things,
a person who only reads saves for themselves. A thing of a site that the caller does not cover, and another's private
one, is as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta

from analytics_server.access.actions import EDIT_SAVED, EDIT_SHARED_OR_OWN, SAVE_OWN, VIEW_SAVED, refusal
from analytics_server.access.principals import Principal, PrincipalKind
from analytics_server.errors import Forbidden, RequestError
from analytics_server.http.authorization import Resource
from analytics_server.http.body import BodyLimits
from analytics_server.http.declaration import SITE, Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.http.parameters import known_values
from analytics_server.model import Site, stored_site_id
from analytics_server.saved.store import ID_BYTES, Saved, SavedThing
from analytics_server.saved.types import SavedType

REQUEST_CODES = ("bad_json", "bad_request", "unknown_key", "bad_name", "bad_saved")
_ID = Annotated[str, Meta(pattern=f"^[0-9a-f]{{{2 * ID_BYTES}}}$")]


class SavedListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The query string of a list. `site_id`: stripped and in lower case."""

    site_id: str


def endpoints(
    types: Iterable[SavedType], saved: Saved, site_of: Callable[[str], Site], reading: BodyLimits
) -> list[Endpoint]:
    """The endpoints of all types. `site_of` raises `NotFound` (unknown_site); `reading`: how bodies are read."""
    return [endpoint for each in types for endpoint in SavedRoutes(each, saved, site_of, reading).endpoints()]


class SavedRoutes:
    """The handlers of one type."""

    def __init__(self, type_: SavedType, saved: Saved, site_of: Callable[[str], Site], reading: BodyLimits) -> None:
        self._type = type_
        self._saved = saved
        self._site_of = site_of
        self._reading = reading

    # ---- handlers ------------------------------------------------------

    async def list_all(self, call: Call[SavedListRequest]) -> msgspec.Struct:
        """A site's shared things and the caller's own; one that can't be read is left out."""
        site, kind, owner = self._site_of(call.body.site_id), self._type.kind, self._person(call)
        own = self._saved.all(kind, site.site_id, owner) if owner else []
        things = sorted((*own, *self._saved.all(kind, site.site_id)), key=lambda thing: thing.name)
        shown = self._saved.readable(
            things, lambda thing: (self._type.order(thing, site), self._type.show(thing, site))
        )
        return self._type.show_all([answer for _, answer in sorted(shown, key=itemgetter(0))])

    async def create(self, call: Call[Any]) -> msgspec.Struct:
        """Save a new thing."""
        site = self._site_of(call.body.site_id)
        owner = self._owner_of_new(call, site.site_id)
        await self._saved.load()  # what another server has saved counts when the request is checked
        thing = await self._put(call.body, site, None, owner)
        call.trail.resource = thing.id
        return self._type.show(thing, site)

    async def show(self, call: Call[None]) -> msgspec.Struct:
        """One thing; another server may have made it just now."""
        thing = await self._thing(call, is_fresh=False)
        return self._type.show(thing, self._site_of(thing.site_id))

    async def change(self, call: Call[Any]) -> msgspec.Struct:
        """Change a thing; what is left out stays as another server has left it."""
        thing = await self._thing(call, is_fresh=True)
        self._check_may_change(call, thing.site_id, thing.owner)
        site = self._site_of(thing.site_id)
        changed = await self._put(self._type.changed(thing, call.body), site, thing, thing.owner)
        return self._type.show(changed, site)

    async def delete(self, call: Call[None]) -> None:
        """Delete a thing, also one that can't be read or whose site was deleted."""
        kind, id_ = self._type.kind, call.path("id")
        await self._saved.load()
        place = self._saved.place(kind, id_, self._person(call))
        if place is None or not call.caller.covers(place[0]):
            raise self._type.unknown()
        site_id, owner = place
        call.authorize(site_id)
        self._check_may_change(call, site_id, owner)
        thing = self._saved.get(kind, site_id, id_, owner)
        if not await self._saved.delete(kind, site_id, id_, owner):
            raise self._type.unknown()
        if thing is not None:
            await self._type.after_delete(thing)

    def _check_may_change(self, call: Call[Any], site_id: str, owner: str) -> None:
        """Of a type with private things, where less was asked than it takes for shared ones. Raises `Forbidden`."""
        if owner:
            call.trail.action = SAVE_OWN.name
        elif self._type.most_private and (why := _why_not_shared(call, site_id)):
            raise Forbidden(why)

    def _person(self, call: Call[Any]) -> str:
        """Whose private things the caller sees: the id of a person; empty for all others, or of a type without."""
        caller = call.caller
        is_person = isinstance(caller, Principal) and caller.kind is PrincipalKind.PERSON
        return caller.id if is_person and self._type.most_private else ""

    def _owner_of_new(self, call: Call[Any], site_id: str) -> str:
        """Whose a new thing will be; empty for a shared one. Raises `Forbidden`, `RequestError`."""
        person, asked = self._person(call), getattr(call.body, "private", UNSET)
        if asked is True and not person:
            raise RequestError(
                f"A private {self._type.noun} belongs to a person who signs in: leave private out.", code="bad_request"
            )
        owner = person if asked is True or (asked is UNSET and _why_not_shared(call, site_id)) else ""
        self._check_may_change(call, site_id, owner)
        return owner

    async def _put(self, asked: msgspec.Struct, site: Site, before: SavedThing | None, owner: str) -> SavedThing:
        name, body = await self._type.check(asked, site, before)
        thing = await self._saved.put(
            self._type.kind,
            site.site_id,
            name,
            body,
            id_=before.id if before else "",
            owner=owner,
            most=self._type.most_private if owner else self._type.most_per_site,
        )
        await self._type.after_put(thing, before)
        return thing

    async def _thing(self, call: Call[Any], *, is_fresh: bool) -> SavedThing:
        """What the address names. Raises `NotFound`, also for a thing of a site that the caller does not cover."""
        id_, owner = call.path("id"), self._person(call)
        if is_fresh or self._saved.by_id(self._type.kind, id_, owner) is None:
            await self._saved.load()
        thing = self._saved.by_id(self._type.kind, id_, owner)
        if thing is None or not call.caller.covers(thing.site_id):
            raise self._type.unknown()
        call.authorize(thing.site_id)
        return thing

    # ---- declarations --------------------------------------------------

    def endpoints(self) -> list[Endpoint]:
        """The five declarations."""
        type_, texts = self._type, self._type.texts
        editing = EDIT_SHARED_OR_OWN if type_.most_private else EDIT_SAVED
        one = (texts.id or Parameter(name="id", about=f"The {type_.noun}'s id.", type=_ID, required=True),)
        no_site, unknown = {404: ("unknown_site",)}, {404: (f"unknown_{type_.kind}",)}
        refused = {400: (*texts.codes, *REQUEST_CODES)}
        taken = {status: codes for status, codes in ((409, texts.conflicts), (503, texts.unavailable)) if codes}
        return [
            Endpoint(
                method="GET",
                path=type_.path,
                name=texts.list_all.name,
                summary=texts.list_all.summary,
                tag=texts.tag,
                about=texts.list_all.about,
                action=VIEW_SAVED,
                site=SiteFrom.BODY,
                handle=self.list_all,
                parse=_parse_list,
                parameters=(SITE,),
                replies=(Reply(about=texts.list_all.reply, type=type_.answers),),
                errors={400: ("bad_request", "bad_saved", "unknown_key"), **no_site},
            ),
            Endpoint(
                method="POST",
                path=type_.path,
                name=texts.create.name,
                summary=texts.create.summary,
                tag=texts.tag,
                about=texts.create.about,
                action=editing,
                site=SiteFrom.BODY,
                handle=self.create,
                reading=self._reading,
                body=Body(types=(type_.request,), examples=texts.examples),
                replies=(Reply(status=201, about=texts.create.reply, type=type_.answer),),
                errors={400: (*refused[400], "too_many"), **no_site, **taken},
                asks_store=True,
                takes_turns=True,
            ),
            Endpoint(
                method="GET",
                path=type_.path + "/{id}",
                name=texts.show.name,
                summary=texts.show.summary,
                tag=texts.tag,
                about=texts.show.about,
                action=VIEW_SAVED,
                site=SiteFrom.HANDLER,
                handle=self.show,
                parameters=one,
                replies=(Reply(about=texts.show.reply, type=type_.answer),),
                errors={400: ("bad_saved",), 404: (*unknown[404], *no_site[404])},
                asks_store=True,
                takes_turns=True,
            ),
            Endpoint(
                method="PUT",
                path=type_.path + "/{id}",
                name=texts.change.name,
                summary=texts.change.summary,
                tag=texts.tag,
                about=texts.change.about,
                action=editing,
                site=SiteFrom.HANDLER,
                handle=self.change,
                reading=self._reading,
                parameters=one,
                body=Body(types=(type_.change,), examples=texts.changes),
                replies=(Reply(about=texts.change.reply, type=type_.answer),),
                errors={**refused, 404: (*unknown[404], *no_site[404]), **taken},
                asks_store=True,
                takes_turns=True,
            ),
            Endpoint(
                method="DELETE",
                path=type_.path + "/{id}",
                name=texts.delete.name,
                summary=texts.delete.summary,
                tag=texts.tag,
                about=texts.delete.about,
                action=editing,
                site=SiteFrom.HANDLER,
                handle=self.delete,
                parameters=one,
                replies=(Reply(status=204, about=texts.delete.reply),),
                errors=unknown,
                asks_store=True,
                takes_turns=True,
            ),
        ]


def _why_not_shared(call: Call[Any], site_id: str) -> str:
    """Why the caller may not change what all see of the site; empty if they may."""
    caller = call.caller
    return refusal(caller, EDIT_SAVED, Resource.site(site_id)) if isinstance(caller, Principal) else ""


def _parse_list(request: web.Request) -> SavedListRequest:
    site_id = stored_site_id(known_values(request, "site_id")["site_id"])
    if not site_id:
        raise RequestError("Name one site: ?site_id=example.com.", code="bad_request")
    return SavedListRequest(site_id=site_id)
