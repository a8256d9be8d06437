"""Experiments over HTTP. Reading needs a token that reads the site, changing one that manages it.

The assignment alone is public and readable from any page: it answers from memory, and tells nothing but a variant.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec.structs import replace

from analytics_server.access.saved import Kind, Saved, SavedThing, body_of
from analytics_server.analyses.experiments.assignment import assign
from analytics_server.analyses.experiments.definition import (
    ExperimentBody,
    ExperimentChange,
    ExperimentRequest,
    ExperimentsAnswer,
    changed,
    check_definition,
    show,
)
from analytics_server.analyses.experiments.directory import Directory, Known, unknown
from analytics_server.analyses.experiments.planning import PlanRequest, plan_experiment
from analytics_server.analyses.experiments.results import ResultsRequest, run_results, sites_with_exposures
from analytics_server.errors import AnalyticsError, Forbidden, RequestError
from analytics_server.query.context import Desk, zone_of
from analytics_server.query.language.request import decode_request
from analytics_server.query.routes import json_response, read_body

PATH = "/api/v1/experiments"
SUBJECT_CHARS = 256
ASSIGN_MAX_AGE_S = 60
CORS = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}
PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "GET, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
    "Access-Control-Max-Age": "86400",
}


class Editor(Protocol):
    """Whoever asks. `require_…` raise `Forbidden` for what is not theirs."""

    @property
    def sites(self) -> tuple[str, ...]: ...

    def covers(self, site_id: str) -> bool: ...

    def require_read(self, site_id: str) -> None: ...

    def require_admin_of(self, site_id: str) -> None: ...


class ExperimentGate(Protocol):
    """Turns an Authorization header into an editor; raises `Unauthorized`."""

    async def authenticate(self, authorization: str | None) -> Editor: ...


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What to show. `variant` null: take nobody in; show what was there before and send no exposure."""

    experiment: str
    variant: str | None


class ExperimentRoutes:
    """Handlers for everything under `/api/v1/experiments`."""

    def __init__(self, desk: Desk, saved: Saved, gate: ExperimentGate) -> None:
        self._desk = desk
        self._saved = saved
        self._gate = gate
        self._directory = Directory(saved)

    def routes(self) -> list[web.RouteDef]:
        """The route table. `/plan` stands before `/{id}`."""
        return [
            web.get(PATH, self.list_all),
            web.post(PATH, self.create),
            web.post(f"{PATH}/plan", self.plan),
            web.get(f"{PATH}/{{id}}", self.show),
            web.put(f"{PATH}/{{id}}", self.change),
            web.delete(f"{PATH}/{{id}}", self.delete),
            web.post(f"{PATH}/{{id}}/results", self.results),
            web.get(f"{PATH}/{{id}}/assign", self.assign),
            web.options(f"{PATH}/{{id}}/assign", self.preflight),
        ]

    async def list_all(self, request: web.Request) -> web.Response:
        editor = await self._editor(request)
        site_id = _parameters(request, "site_id")["site_id"].strip().lower()
        if not site_id:
            raise RequestError("Name the site: GET /api/v1/experiments?site_id=example.com.", code="bad_request")
        editor.require_read(site_id)
        site = self._desk.site(site_id)
        things = self._saved.all(Kind.EXPERIMENT, site.site_id)
        return json_response(ExperimentsAnswer(experiments=self._saved.readable(things, show)))

    async def create(self, request: web.Request) -> web.Response:
        editor = await self._editor(request)
        asked = decode_request(await self._body(request), ExperimentRequest)
        editor.require_admin_of(asked.site_id.strip().lower())
        return json_response(show(await self._save(asked)), status=201)

    async def show(self, request: web.Request) -> web.Response:
        return json_response(show(await self._mine(request)))

    async def change(self, request: web.Request) -> web.Response:
        thing = await self._mine(request, to_change=True)
        asked = changed(thing, decode_request(await self._body(request), ExperimentChange))
        return json_response(show(await self._save(asked, thing)))

    async def delete(self, request: web.Request) -> web.Response:
        thing = await self._mine(request, to_change=True)
        if not await self._saved.delete(Kind.EXPERIMENT, thing.site_id, thing.id):
            raise unknown(thing.id)
        return web.Response(status=204)

    async def plan(self, request: web.Request) -> web.Response:
        """Arithmetic only: any token will do."""
        await self._editor(request)
        return json_response(plan_experiment(decode_request(await self._body(request), PlanRequest)))

    async def results(self, request: web.Request) -> web.Response:
        editor = await self._editor(request)
        asked = decode_request(await self._body(request) or b"{}", ResultsRequest)
        id_or_key, site_id = request.match_info["id"], asked.site_id.strip().lower()
        if site_id:
            editor.require_read(site_id)
            found = self._directory.find(id_or_key, site_id)
        else:
            found = self._directory.find_covered(
                id_or_key, lambda each: editor.covers(each) and self._desk.has_site(each)
            )
            if found is not None:
                _require_read(editor, found.thing, id_or_key)
            site_id = found.thing.site_id if found else await self._site_of_exposures(editor, id_or_key)
        site = self._desk.site(site_id)
        return json_response(await run_results(self._desk, site, id_or_key, found.thing if found else None, asked))

    async def assign(self, request: web.Request) -> web.Response:
        """Public: errors are readable from any page as well."""
        try:
            answer = self._assign(request)
        except AnalyticsError as error:
            body = msgspec.json.encode({"error": {"code": error.code, "message": error.message}})
            headers = {**CORS, "Cache-Control": "no-store"}
            return web.Response(body=body, status=error.status, content_type="application/json", headers=headers)
        headers = {**CORS, "Cache-Control": f"private, max-age={ASSIGN_MAX_AGE_S}", "Vary": "Origin, Referer"}
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json", headers=headers)

    async def preflight(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers=PREFLIGHT)

    async def _site_of_exposures(self, editor: Editor, key: str) -> str:
        """The only site, of those the token may read, where an experiment that nobody has saved was shown."""
        editor.require_read(editor.sites[0] if editor.sites else "")  # the role; no answer without it
        found = [site_id for site_id in await sites_with_exposures(self._desk, key) if editor.covers(site_id)]
        if not found:
            raise unknown(key)
        if len(found) > 1:
            raise RequestError(
                f"No experiment {key[:120]!r} is saved, and several sites have exposures of it: name the site:"
                ' {"site_id": "example.com"}.',
                code="site_needed",
            )
        return found[0]

    def _assign(self, request: web.Request) -> Assignment:
        given = _parameters(request, "subject", "site_id")
        subject = given["subject"]
        if not 0 < len(subject) <= SUBJECT_CHARS:
            raise RequestError(
                f"subject must have 1 to {SUBJECT_CHARS} characters: what you know the person or session by, the same"
                " at each call.",
                code="bad_subject",
            )
        id_or_key = request.match_info["id"]
        site_id = given["site_id"].strip().lower()
        known = self._directory.find(id_or_key, site_id) if site_id else self._find_public(request, id_or_key)
        if known is None or not self._desk.has_site(known.thing.site_id):
            raise unknown(id_or_key)
        body = known.body
        variant = None
        if body.is_open(self._desk.now()):
            variant = assign(body.key, subject, [(variant.name, variant.weight) for variant in body.variants])
        return Assignment(experiment=body.key, variant=variant)

    def _find_public(self, request: web.Request, id_or_key: str) -> Known | None:
        """Without a site in the call: of the page's own site, of one that allows the page's host, else who was first.

        A page whose host is a site gets no other site's variants.
        """
        found = self._directory.find_first(id_or_key, self._desk.has_site)
        if not found or found[0].thing.id == id_or_key:
            return found[0] if found else None
        hosts = _hosts_of_page(request)
        own = [known for known in found if known.thing.site_id in hosts]
        allowing = [
            known for known in found if not hosts.isdisjoint(self._desk.site(known.thing.site_id).allowed_hosts)
        ]
        others = [] if any(self._desk.has_site(host) for host in hosts) else found
        return next(iter([*own, *allowing, *others]), None)

    async def _save(self, asked: ExperimentRequest, before: SavedThing | None = None) -> SavedThing:
        site = self._desk.site(asked.site_id)
        library = self._desk.library(site.site_id)
        old = body_of(before, ExperimentBody) if before else None
        body, conditions = check_definition(asked, library, zone_of(site), self._desk.now(), old)
        await self._desk.check_patterns(conditions)
        id_ = before.id if before else ""
        now_ms = int(self._desk.now().timestamp() * 1000)
        body = replace(body, key_since_ms=now_ms, name_since_ms=now_ms)
        if before is not None and old is not None:
            if old.key == body.key:
                body = replace(body, key_since_ms=old.key_since_ms or before.created_at_ms)
            if before.name == asked.name:
                body = replace(body, name_since_ms=old.name_since_ms or before.created_at_ms)
        self._directory.refuse_taken_key(site.site_id, body.key, id_)
        return await self._saved.put(Kind.EXPERIMENT, site.site_id, asked.name, body, id_=id_)

    async def _mine(self, request: web.Request, *, to_change: bool = False) -> SavedThing:
        """The definition in the address, if the token may see or change it; else it does not exist for it."""
        editor = await self._editor(request)
        id_ = request.match_info["id"]
        if to_change:  # what a change leaves out stays as another server has left it
            await self._saved.load()
        thing = self._saved.by_id(Kind.EXPERIMENT, id_)
        if thing is None:  # another server may have made it just now
            await self._saved.load()
            thing = self._saved.by_id(Kind.EXPERIMENT, id_)
        if thing is None:
            raise unknown(id_)
        _require_read(editor, thing, thing.id)
        if to_change:
            editor.require_admin_of(thing.site_id)
        return thing

    async def _editor(self, request: web.Request) -> Editor:
        return await self._gate.authenticate(request.headers.get("Authorization"))

    async def _body(self, request: web.Request) -> bytes:
        return await read_body(request, self._desk.limits.query_bytes)


def _require_read(editor: Editor, thing: SavedThing, id_or_key: str) -> None:
    """Raises `NotFound` for a foreign site's definition, so that its site stays unknown; `Forbidden` for the role."""
    try:
        editor.require_read(thing.site_id)
    except Forbidden as error:
        if editor.covers(thing.site_id):
            raise
        raise unknown(id_or_key) from error


def _hosts_of_page(request: web.Request) -> frozenset[str]:
    """How the site of the asking page may be called: its host with and without the port and "www."."""
    address = request.headers.get("Origin", "")
    if not address.startswith("http"):
        address = request.headers.get("Referer", "")
    try:
        parts = urlsplit(address.lower())
        hosts = {parts.netloc.rpartition("@")[2], parts.hostname or ""}
    except ValueError:
        return frozenset()
    return frozenset({*hosts, *(host.removeprefix("www.") for host in hosts)} - {""})


def _parameters(request: web.Request, *names: str) -> dict[str, str]:
    """The query string's values, empty where absent. Raises `RequestError` for others and for repeated ones."""
    for name in request.query:
        if name not in names:
            raise RequestError(f"There is no parameter {name[:120]!r}. Valid: {', '.join(names)}.", code="unknown_key")
        if len(request.query.getall(name)) > 1:
            raise RequestError(f"The parameter {name!r} is given more than once.", code="bad_request")
    return {name: request.query.get(name, "") for name in names}
