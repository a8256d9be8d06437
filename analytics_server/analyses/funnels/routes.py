"""Funnels over HTTP. Asking needs a token that reads the site, saving one that manages it."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from analytics_server.access.saved import SavedThing, body_of
from analytics_server.analyses.funnels.definition import DrillRequest, FunnelBody, FunnelRequest
from analytics_server.analyses.funnels.materialized.definitions import (
    SavedFunnelAnswer,
    SavedFunnelChange,
    SavedFunnelRequest,
    SavedFunnels,
    SavedFunnelsAnswer,
    changed,
    unknown,
)
from analytics_server.analyses.funnels.materialized.keeper import FunnelKeeper
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.errors import RequestError
from analytics_server.query.context import Desk
from analytics_server.query.language.request import decode_request
from analytics_server.query.routes import json_response, read_body

PATH = "/api/v1/funnels"


class Editor(Protocol):
    """Whoever asks. `require_…` raise `Forbidden` for what is not theirs."""

    def covers(self, site_id: str) -> bool: ...

    def require_read(self, site_id: str) -> None: ...

    def require_admin_of(self, site_id: str) -> None: ...


class FunnelGate(Protocol):
    """Turns an Authorization header into an editor; raises `Unauthorized`."""

    async def authenticate(self, authorization: str | None) -> Editor: ...


class FunnelRoutes:
    """Handlers for everything under `/api/v1/funnels`."""

    def __init__(
        self, service: FunnelService, desk: Desk, saved: SavedFunnels, keeper: FunnelKeeper, gate: FunnelGate
    ) -> None:
        self._service = service
        self._desk = desk
        self._saved = saved
        self._keeper = keeper
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        """The route table."""
        return [
            web.post(PATH, self.ask),
            web.post(f"{PATH}/sessions", self.sessions),
            web.get(f"{PATH}/saved", self.list_all),
            web.post(f"{PATH}/saved", self.create),
            web.get(f"{PATH}/saved/{{id}}", self.show),
            web.put(f"{PATH}/saved/{{id}}", self.change),
            web.delete(f"{PATH}/saved/{{id}}", self.delete),
        ]

    async def ask(self, request: web.Request) -> web.Response:
        editor = await self._editor(request)
        asked = decode_request(await self._body(request), FunnelRequest)
        editor.require_read(asked.site_id.strip().lower())
        return json_response(await self._service.run(asked))

    async def sessions(self, request: web.Request) -> web.Response:
        editor = await self._editor(request)
        asked = decode_request(await self._body(request), DrillRequest)
        editor.require_read(asked.site_id.strip().lower())
        return json_response(await self._service.sessions(asked))

    async def list_all(self, request: web.Request) -> web.Response:
        editor = await self._editor(request)
        unknown = [name for name in request.query if name != "site_id" or len(request.query.getall(name)) > 1]
        site_id = request.query.get("site_id", "").strip().lower()
        if unknown or not site_id:
            raise RequestError(
                "Name the site, and nothing else: GET /api/v1/funnels/saved?site_id=example.com.", code="bad_request"
            )
        editor.require_read(site_id)
        site = self._desk.site(site_id)
        return json_response(SavedFunnelsAnswer(funnels=self._saved.readable(site.site_id, self._show)))

    async def create(self, request: web.Request) -> web.Response:
        editor = await self._editor(request)
        asked = decode_request(await self._body(request), SavedFunnelRequest)
        editor.require_admin_of(asked.site_id.strip().lower())
        return json_response(self._show(await self._save(asked)), status=201)

    async def show(self, request: web.Request) -> web.Response:
        return json_response(self._show(await self._mine(request)))

    async def change(self, request: web.Request) -> web.Response:
        thing = await self._mine(request, to_change=True)
        asked = changed(thing, decode_request(await self._body(request), SavedFunnelChange))
        return json_response(self._show(await self._save(asked, thing)))

    async def delete(self, request: web.Request) -> web.Response:
        thing = await self._mine(request, to_change=True)
        await self._saved.delete(thing)
        await self._keeper.forget(thing)
        return web.Response(status=204)

    async def _save(self, asked: SavedFunnelRequest, before: SavedThing | None = None) -> SavedThing:
        self._desk.site(asked.site_id)
        body = FunnelBody(**{key: getattr(asked, key) for key in FunnelBody.__struct_fields__})
        await self._desk.check_patterns(self._saved.funnel(asked.site_id.strip().lower(), body).conditions())
        thing = await self._saved.put(asked, id_=before.id if before else "")
        if before is not None:
            await self._keeper.forget(before, now=thing)
        self._keeper.wake()
        return thing

    def _show(self, thing: SavedThing) -> SavedFunnelAnswer:
        body = body_of(thing, FunnelBody)
        try:
            state = self._keeper.state(self._saved.facts(thing))
            status, progress, reason = state.status, state.progress, state.reason
        except RequestError as error:
            status, progress, reason = "failed", 0.0, error.message
        return SavedFunnelAnswer(
            **{key: getattr(body, key) for key in FunnelBody.__struct_fields__},
            id=thing.id,
            site_id=thing.site_id,
            name=thing.name,
            status=status,
            progress=progress,
            reason=reason,
            created_at_ms=thing.created_at_ms,
            updated_at_ms=thing.updated_at_ms,
        )

    async def _mine(self, request: web.Request, *, to_change: bool = False) -> SavedThing:
        """The funnel that the path names. Of a site that isn't the caller's nothing is told."""
        editor = await self._editor(request)
        id_ = request.match_info["id"]
        if to_change or not self._saved.knows(id_):  # what another server has just saved of it counts
            await self._saved.load()
        thing = self._saved.by_id(id_)
        if not editor.covers(thing.site_id):
            raise unknown(id_)
        if to_change:
            editor.require_admin_of(thing.site_id)
        else:
            editor.require_read(thing.site_id)
        self._desk.site(thing.site_id)
        return thing

    async def _editor(self, request: web.Request) -> Editor:
        return await self._gate.authenticate(request.headers.get("Authorization"))

    async def _body(self, request: web.Request) -> bytes:
        return await read_body(request, self._desk.limits.query_bytes)
