"""Sites and tokens over HTTP. Reading sites needs a token that reads; the rest needs admin."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

from analytics_server.access.gate import ID_CHARS, Gate, Role, token_hash
from analytics_server.access.sites import Sites
from analytics_server.errors import Forbidden, NotFound, RequestError, TooLarge

MAX_BODY = 65_536

T = TypeVar("T")


class SiteRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    site_id: str
    timezone: str = ""
    allowed_hosts: tuple[str, ...] = ()


class SiteChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    timezone: str | None = None
    allowed_hosts: tuple[str, ...] | None = None


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: Role
    name: str = ""
    sites: tuple[str, ...] = ()


class AccessRoutes:
    """Handlers for `/api/v1/sites` and `/api/v1/tokens`."""

    def __init__(self, gate: Gate, sites: Sites) -> None:
        self._gate = gate
        self._sites = sites

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/sites", self.list_sites),
            web.post("/api/v1/sites", self.create_site),
            web.put("/api/v1/sites/{site_id}", self.change_site),
            web.get("/api/v1/tokens", self.list_tokens),
            web.post("/api/v1/tokens", self.create_token),
            web.delete("/api/v1/tokens/{token_id}", self.delete_token),
        ]

    async def list_sites(self, request: web.Request) -> web.Response:
        principal = await self._gate.authenticate(request.headers.get("Authorization"))
        if principal.role is Role.COLLECT:
            raise Forbidden("This token may only collect.")
        return json_response({"sites": [site for site in self._sites.all() if principal.covers(site.site_id)]})

    async def create_site(self, request: web.Request) -> web.Response:
        await self._admin(request)
        wanted = await read_json(request, SiteRequest)
        if self._sites.get(wanted.site_id) is not None:
            raise RequestError(f"The site {wanted.site_id!r} exists already: change it with PUT.", code="site_exists")
        site = await self._sites.create(wanted.site_id, wanted.timezone)
        if wanted.allowed_hosts:
            site = await self._sites.put(msgspec.structs.replace(site, allowed_hosts=wanted.allowed_hosts))
        return json_response(site, status=201)

    async def change_site(self, request: web.Request) -> web.Response:
        await self._admin(request)
        change = await read_json(request, SiteChange)
        site = self._sites.get(request.match_info["site_id"])
        if site is None:
            raise NotFound(f"The site {request.match_info['site_id']!r} does not exist.", code="unknown_site")
        if change.timezone is not None:
            site = msgspec.structs.replace(site, timezone=change.timezone)
        if change.allowed_hosts is not None:
            site = msgspec.structs.replace(site, allowed_hosts=change.allowed_hosts)
        return json_response(await self._sites.put(site))

    async def list_tokens(self, request: web.Request) -> web.Response:
        await self._admin(request)
        return json_response({"tokens": self._gate.tokens()})

    async def create_token(self, request: web.Request) -> web.Response:
        await self._admin(request)
        wanted = await read_json(request, TokenRequest)
        token = await self._gate.create(wanted.role, name=wanted.name, sites=wanted.sites)
        return json_response(
            {"token": token, "token_id": token_hash(token)[:ID_CHARS], "role": wanted.role, "sites": wanted.sites},
            status=201,
        )

    async def delete_token(self, request: web.Request) -> web.Response:
        await self._admin(request)
        if not await self._gate.revoke(request.match_info["token_id"]):
            raise NotFound("There is no token of that id: GET /api/v1/tokens lists them.")
        return web.Response(status=204)

    async def _admin(self, request: web.Request) -> None:
        principal = await self._gate.authenticate(request.headers.get("Authorization"))
        principal.require_admin()
        if principal.sites:
            raise Forbidden("This token covers single sites only; managing needs one for all sites.")


async def read_json(request: web.Request, kind: type[T]) -> T:
    """The body as a struct. Raises `RequestError`."""
    body = b""
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MAX_BODY:
            raise TooLarge(f"The body may have {MAX_BODY} bytes.")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"The body can't be read: {error}.", code="bad_body") from error


def json_response(value: object, *, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
