"""Sites and tokens over HTTP. Reading sites needs a token that reads; the rest needs admin of all sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.gate import ID_CHARS, Gate, Principal, Role, token_hash
from analytics_server.access.sites import SITE_ID, Sites, valid_site_id
from analytics_server.errors import Conflict, Forbidden, NotFound, RequestError
from analytics_server.http.body import read_within
from analytics_server.model import DropCount, Site

MAX_BODY = 65_536
NAME_CHARS = 120
ZONE_CHARS = 64
HOST_CHARS = 253
SITE_CHARS = 128
MAX_LISTED = 1_000
"""So many hosts a site may allow, and so many sites a token may cover."""

T = TypeVar("T")

SiteId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=SITE_CHARS,
        extra_json_schema={"pattern": rf"^[ \t\r\n]*{SITE_ID.pattern.replace('a-z', 'A-Za-z')}[ \t\r\n]*$"},
    ),
]
Zone = Annotated[str, Meta(max_length=ZONE_CHARS, description="IANA name, such as Europe/Stockholm.")]
Hosts = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=HOST_CHARS)], ...],
    Meta(max_length=MAX_LISTED, description="Events from pages on other hosts are dropped. Empty: any host."),
]
TokenName = Annotated[
    str,
    Meta(max_length=NAME_CHARS, extra_json_schema={"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}),
]
Covered = Annotated[tuple[SiteId, ...], Meta(max_length=MAX_LISTED, description="Empty: all sites, later ones too.")]


class SiteRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new site."""

    site_id: SiteId
    timezone: Zone = ""
    allowed_hosts: Hosts = ()


class SiteChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change; what is left out stays. `site_id` can't change; it may be sent along."""

    site_id: SiteId | None = None
    timezone: Zone | None = None
    allowed_hosts: Hosts | None = None


class SitesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The sites that the token covers, by id.

    `drops`: what was not kept because no site has the name it was sent to, the latest first; for tokens of all sites.
    """

    sites: list[Site]
    drops: list[DropCount] = []


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new token."""

    role: Role
    name: TokenName = ""
    sites: Covered = ()


class TokenChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change; what is left out stays. A role can't change."""

    name: TokenName | None = None
    sites: Covered | None = None


class TokensAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All tokens, the oldest first, without their secrets."""

    tokens: list[Principal]


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was made. `token` is the secret and is shown this once."""

    token: str
    token_id: str
    role: Role
    name: str
    sites: tuple[str, ...]


class AccessRoutes:
    """Handlers for `/api/v1/sites` and `/api/v1/tokens`."""

    def __init__(self, gate: Gate, sites: Sites, drops_of_unknown_sites: Callable[[], list[DropCount]] = list) -> None:
        self._gate = gate
        self._drops_of_unknown_sites = drops_of_unknown_sites
        self._sites = sites

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/sites", self.list_sites),
            web.post("/api/v1/sites", self.create_site),
            web.get("/api/v1/sites/{site_id}", self.show_site),
            web.put("/api/v1/sites/{site_id}", self.change_site),
            web.delete("/api/v1/sites/{site_id}", self.delete_site),
            web.get("/api/v1/tokens", self.list_tokens),
            web.post("/api/v1/tokens", self.create_token),
            web.get("/api/v1/tokens/{token_id}", self.show_token),
            web.put("/api/v1/tokens/{token_id}", self.change_token),
            web.delete("/api/v1/tokens/{token_id}", self.delete_token),
        ]

    # ---- sites ---------------------------------------------------------

    async def list_sites(self, request: web.Request) -> web.Response:
        principal = await self._reader(request)
        sites = [site for site in self._sites.all() if principal.covers(site.site_id)]
        return json_response(SitesAnswer(sites=sites, drops=[] if principal.sites else self._drops_of_unknown_sites()))

    async def show_site(self, request: web.Request) -> web.Response:
        principal = await self._reader(request)
        site_id = _site_id(request)
        principal.require_read(site_id)
        if self._sites.get(site_id) is None:  # another server may have made it just now
            await self._sites.load()
        return json_response(self._site(site_id))

    async def create_site(self, request: web.Request) -> web.Response:
        await self._admin(request)
        wanted = await read_json(request, SiteRequest)
        site_id = valid_site_id(wanted.site_id) or wanted.site_id
        await self._sites.load()
        if self._sites.get(site_id) is not None:
            raise Conflict(f"The site {site_id!r} exists already: change it with PUT.", code="site_exists")
        site = await self._sites.create(site_id, wanted.timezone, allowed_hosts=_hosts(wanted.allowed_hosts))
        return json_response(site, status=201)

    async def change_site(self, request: web.Request) -> web.Response:
        await self._admin(request)
        change = await read_json(request, SiteChange)
        await self._sites.load()  # what is left out stays as another server has left it
        site = self._site(_site_id(request))
        if change.site_id is not None and valid_site_id(change.site_id) != site.site_id:
            raise RequestError(f"site_id can't change: the address names {site.site_id!r}.", code="bad_site")
        if change.timezone is not None:
            site = msgspec.structs.replace(site, timezone=change.timezone)
        if change.allowed_hosts is not None:
            site = msgspec.structs.replace(site, allowed_hosts=_hosts(change.allowed_hosts))
        return json_response(await self._sites.put(site))

    async def delete_site(self, request: web.Request) -> web.Response:
        await self._admin(request)
        site_id = _site_id(request)
        await self._sites.load()
        if not await self._sites.delete(site_id):
            raise _unknown_site(site_id)
        return web.Response(status=204)

    def _site(self, site_id: str) -> Site:
        site = self._sites.get(site_id)
        if site is None:
            raise _unknown_site(site_id)
        return site

    # ---- tokens --------------------------------------------------------

    async def list_tokens(self, request: web.Request) -> web.Response:
        await self._admin(request)
        return json_response(TokensAnswer(tokens=self._gate.tokens()))

    async def show_token(self, request: web.Request) -> web.Response:
        await self._admin(request)
        return json_response(_known(await self._gate.find(request.match_info["token_id"])))

    async def create_token(self, request: web.Request) -> web.Response:
        await self._admin(request)
        wanted = await read_json(request, TokenRequest)
        name, sites = _name(wanted.name), _covered(wanted.sites)
        token = await self._gate.create(wanted.role, name=name, sites=sites)
        return json_response(
            NewToken(token=token, token_id=token_hash(token)[:ID_CHARS], role=wanted.role, name=name, sites=sites),
            status=201,
        )

    async def change_token(self, request: web.Request) -> web.Response:
        await self._admin(request)
        change = await read_json(request, TokenChange)
        name = None if change.name is None else _name(change.name)
        sites = None if change.sites is None else _covered(change.sites)
        return json_response(_known(await self._gate.change(request.match_info["token_id"], name=name, sites=sites)))

    async def delete_token(self, request: web.Request) -> web.Response:
        await self._admin(request)
        if not await self._gate.revoke(request.match_info["token_id"]):
            _known(None)
        return web.Response(status=204)

    # ---- who asks ------------------------------------------------------

    async def _reader(self, request: web.Request) -> Principal:
        principal = await self._gate.authenticate(request.headers.get("Authorization"))
        if principal.role is Role.COLLECT:
            raise Forbidden("This token may only collect.")
        return principal

    async def _admin(self, request: web.Request) -> None:
        principal = await self._gate.authenticate(request.headers.get("Authorization"))
        principal.require_admin()
        if principal.sites:
            raise Forbidden("This token covers single sites only; managing needs one for all sites.")


def _site_id(request: web.Request) -> str:
    return request.match_info["site_id"].strip().lower()


def _unknown_site(site_id: str) -> NotFound:
    return NotFound(f"The site {site_id[:128]!r} does not exist.", code="unknown_site")


def _known(principal: Principal | None) -> Principal:
    if principal is None:
        raise NotFound("There is no token of that id: GET /api/v1/tokens lists them.", code="unknown_token")
    return principal


def _name(text: str) -> str:
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text):
        raise RequestError("name holds a control character: leave it out.", code="bad_name")
    return text


def _hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Hosts as events spell them."""
    return tuple(name.strip().lower() for name in names)


def _covered(names: tuple[str, ...]) -> tuple[str, ...]:
    """Sites in their one spelling. They need not exist yet."""
    for index, name in enumerate(names):
        if not valid_site_id(name):
            raise RequestError(
                f"sites[{index}] is {name[:128]!r}: a site's id is a name such as example.com.", code="bad_site"
            )
    return tuple(valid_site_id(name) for name in names)


async def read_json(request: web.Request, kind: type[T]) -> T:
    """The body as a struct. Raises `RequestError`."""
    body = await read_within(request, MAX_BODY, f"The body may have {MAX_BODY} bytes.")
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
