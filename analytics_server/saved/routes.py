"""Goals, segments, annotations and saved queries over HTTP: `/api/v1/{goals,segments,annotations,queries}`.

A token that reads may list them; making, changing and deleting needs an admin's that
covers the site. Whoever may not see a site is not told whether a thing of it exists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import itemgetter

from aiohttp import web

from analytics_server.access.gate import Gate, Principal, Role
from analytics_server.access.saved import Saved, SavedThing
from analytics_server.errors import Forbidden, NotFound, RequestError
from analytics_server.query.dimensions import nearest
from analytics_server.query.language.request import decode_request
from analytics_server.query.routes import json_response, read_body
from analytics_server.saved.checks import SHELVES, Askers, Shelf

Handler = Callable[[web.Request], Awaitable[web.Response]]


def saved_routes(askers: Askers, saved: Saved, gate: Gate) -> list[web.RouteDef]:
    """The routes of all four kinds."""
    found: list[web.RouteDef] = []
    for shelf in SHELVES:
        desk = _ShelfRoutes(shelf, askers, saved, gate)
        path = f"/api/v1/{shelf.plural}"
        found += [
            web.get(path, desk.list_all),
            web.post(path, desk.create),
            web.get(path + "/{id}", desk.show),
            web.put(path + "/{id}", desk.change),
            web.delete(path + "/{id}", desk.delete),
        ]
    return found


class _ShelfRoutes:
    """The handlers of one kind."""

    def __init__(self, shelf: Shelf, askers: Askers, saved: Saved, gate: Gate) -> None:
        self._shelf = shelf
        self._askers = askers
        self._desk = askers.query.desk
        self._saved = saved
        self._gate = gate

    async def list_all(self, request: web.Request) -> web.Response:
        principal = await self._principal(request)
        site_id = _site_parameter(request)
        principal.require_read(site_id)
        site = self._desk.site(site_id)
        things = self._saved.all(self._shelf.kind, site.site_id)
        shown = self._saved.readable(
            things, lambda thing: (self._shelf.place(thing, site), self._shelf.show(thing, site))
        )
        return json_response(self._shelf.answer_all([answer for _, answer in sorted(shown, key=itemgetter(0))]))

    async def create(self, request: web.Request) -> web.Response:
        principal = await self._principal(request)
        principal.require_admin()
        asked = decode_request(await self._body(request), self._shelf.request)
        site_id = str(getattr(asked, "site_id")).strip().lower()  # noqa: B009
        principal.require_admin_of(site_id)
        site = self._desk.site(site_id)
        name, body = await self._shelf.check(asked, site, self._askers)
        thing = await self._saved.put(self._shelf.kind, site.site_id, name, body)
        return json_response(self._shelf.show(thing, site), status=201)

    async def show(self, request: web.Request) -> web.Response:
        principal = await self._principal(request)
        if principal.role is Role.COLLECT:
            raise Forbidden("This token may only collect.")
        thing = await self._thing(request, principal)
        return json_response(self._shelf.show(thing, self._desk.site(thing.site_id)))

    async def change(self, request: web.Request) -> web.Response:
        principal = await self._principal(request)
        principal.require_admin()
        change = decode_request(await self._body(request), self._shelf.change)
        await self._saved.load()  # what is left out stays as another server has left it
        thing = await self._thing(request, principal)
        site = self._desk.site(thing.site_id)
        name, body = await self._shelf.check(self._shelf.changed(thing, change), site, self._askers)
        changed = await self._saved.put(self._shelf.kind, site.site_id, name, body, id_=thing.id)
        return json_response(self._shelf.show(changed, site))

    async def delete(self, request: web.Request) -> web.Response:
        principal = await self._principal(request)
        principal.require_admin()
        thing = await self._thing(request, principal)
        if not await self._saved.delete(self._shelf.kind, thing.site_id, thing.id):
            raise self._unknown()
        return web.Response(status=204)

    async def _principal(self, request: web.Request) -> Principal:
        return await self._gate.authenticate(request.headers.get("Authorization"))

    async def _body(self, request: web.Request) -> bytes:
        return await read_body(request, self._desk.limits.query_bytes)

    async def _thing(self, request: web.Request, principal: Principal) -> SavedThing:
        """What the address names. Raises `NotFound`, also for a thing of a site that the token does not cover."""
        id_ = request.match_info["id"]
        thing = self._saved.by_id(self._shelf.kind, id_)
        if thing is None:  # another server may have made it just now
            await self._saved.load()
            thing = self._saved.by_id(self._shelf.kind, id_)
        if thing is None or not principal.covers(thing.site_id):
            raise self._unknown()
        return thing

    def _unknown(self) -> NotFound:
        shelf = self._shelf
        return NotFound(
            f"There is no {shelf.noun} of that id: GET /api/v1/{shelf.plural}?site_id=… lists them.",
            code=f"unknown_{shelf.kind}",
        )


def _site_parameter(request: web.Request) -> str:
    for name in request.query:
        if name != "site_id":
            raise RequestError(f"There is no parameter {name!r}.{nearest(name, ['site_id'])}", code="unknown_key")
    given = request.query.getall("site_id", [])
    if len(given) != 1 or not given[0].strip():
        raise RequestError("Name one site: ?site_id=example.com.", code="bad_request")
    return given[0].strip().lower()
