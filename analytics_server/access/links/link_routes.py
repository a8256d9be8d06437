"""Share links over HTTP: `/api/v1/share-links` for admins of the site, and `/api/v1/share/open` for who has a link."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Protocol

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import MANAGE_LINKS
from analytics_server.access.links.share_links import ShareLink, ShareLinks
from analytics_server.access.people.attempts import AttemptCounter
from analytics_server.access.people.parts import Password, PersonName, checked_name, recorded, site_id_of
from analytics_server.access.people.passwords import MOST_CHARS, Passwords
from analytics_server.access.site_settings import SiteId
from analytics_server.access.token_routes import Moment, moment_of
from analytics_server.errors import NotFound, RequestError, Unauthorized
from analytics_server.http.answer import json_response
from analytics_server.http.audit import AuditTrail, Recorder
from analytics_server.http.authorization import PUBLIC, Narrowing
from analytics_server.http.body import SMALL_BODY, read_within
from analytics_server.http.declaration import SITE, Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.http.parameters import known_values
from analytics_server.model import stored_site_id

LEAST_CHARS = 8
MOST_HOSTS = 20
MOST_FILTERS = 20
LEAST_THRESHOLD, MOST_THRESHOLD = 2, 1_000
FILTERED = re.compile(r"(event:(page|hostname)|visit:[a-z_]+)")
OPERATORS = frozenset({"is", "is_not", "contains", "contains_not"})
_HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?")
_ID = Annotated[str, Meta(pattern="^[0-9a-f]{12}$")]

LinkFilter = Annotated[
    tuple[str, str, tuple[str, ...]],
    Meta(
        description="An operator (is, is_not, contains, contains_not), a dimension (event:page, visit:…), and values."
    ),
]


class LinkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new link. `filters`, and those of the saved `segment` (name or id), hold for everything that it shows.

    `threshold`: rows of fewer visitors are shown as one. `embed_hosts`: hosts whose pages may frame it.
    """

    site_id: SiteId
    name: PersonName = ""
    filters: Annotated[tuple[LinkFilter, ...], Meta(max_length=MOST_FILTERS)] = ()
    segment: Annotated[str, Meta(max_length=120)] = ""
    threshold: Annotated[int, Meta(ge=LEAST_THRESHOLD, le=MOST_THRESHOLD)] | None = None
    embed_hosts: Annotated[tuple[Annotated[str, Meta(max_length=253)], ...], Meta(max_length=MOST_HOSTS)] = ()
    password: Annotated[str, Meta(max_length=MOST_CHARS)] = ""
    expires_at: Moment | None = None


class LinkInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A link without its secret. `segment`: its id; `segment_name` is null where it was deleted: nothing is shown."""

    link_id: str
    site_id: str
    name: str
    filters: tuple[Any, ...]
    segment: str
    segment_name: str | None
    threshold: int | None
    embed_hosts: tuple[str, ...]
    has_password: bool
    expires_at: datetime | None
    created_at_ms: int


class NewLink(LinkInfo, frozen=True, kw_only=True):
    """A link that was made. `link` is its address, shown this once."""

    link: str


class LinksAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's links, the oldest first."""

    share_links: list[LinkInfo]


class LinkList(msgspec.Struct, frozen=True, kw_only=True):
    """The query string of a list."""

    site_id: str


class Opening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last part of a link's address, and its password if it has one."""

    secret: Annotated[str, Meta(max_length=128)]
    password: Password | None = None


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer token for twelve hours. `live`: may it watch the live numbers too? Not where it shows a part of them.

    `left_out`: the dimensions that it may not name.
    """

    token: str
    site_id: str
    name: str
    live: bool
    threshold: int | None
    left_out: list[str]


_LINK = Parameter(name="link_id", about="The link's id.", type=_ID, required=True)


class LinkScopes(Protocol):
    """What links show of what is saved and asked, which this room knows nothing of."""

    async def segment(self, site_id: str, id_or_name: str) -> tuple[str, str] | None:
        """Id and name of a saved segment of the site."""

    def segment_name(self, site_id: str, id_: str) -> str | None:
        """The name of the segment of that id, None if it is gone."""

    def left_out(self, narrowing: Narrowing) -> list[str]:
        """The dimensions that a link may not name. Raises `Forbidden` (segment_gone) or `RequestError` (bad_filter)."""


class LinkRoutes:
    """Handlers for share links."""

    def __init__(
        self,
        links: ShareLinks,
        passwords: Passwords,
        attempts: AttemptCounter,
        scopes: LinkScopes,
        *,
        link_of: Callable[[web.Request, str], str],
        client_of: Callable[[web.Request], str],
        recorder: Recorder | None,
    ) -> None:
        """`link_of` makes the page's address of a secret, `client_of` tells clients apart, `recorder` audits."""
        self._links = links
        self._passwords = passwords
        self._attempts = attempts
        self._scopes = scopes
        self._link_of = link_of
        self._client_of = client_of
        self._recorder = recorder

    def endpoints(self) -> list[Endpoint]:
        """The declarations."""
        return [
            Endpoint(
                method="GET",
                path="/api/v1/share-links",
                name="list_share_links",
                summary="A site's share links",
                tag="people",
                action=MANAGE_LINKS,
                site=SiteFrom.BODY,
                handle=self.list_links,
                parse=_asked_site,
                parameters=(SITE,),
                replies=(Reply(about="The oldest first.", type=LinksAnswer),),
                errors={400: ("bad_request", "unknown_key")},
                asks_store=True,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/share-links",
                name="create_share_link",
                summary="Make a share link",
                tag="people",
                action=MANAGE_LINKS,
                site=SiteFrom.BODY,
                handle=self.create_link,
                body=Body(
                    types=(LinkRequest,),
                    examples={
                        "blog": {
                            "site_id": "example.com",
                            "name": "For the agency",
                            "filters": [["contains", "event:page", ["/blog"]]],
                            "embed_hosts": ["agency.example"],
                        }
                    },
                ),
                replies=(Reply(status=201, about="The link, shown this once.", type=NewLink),),
                errors={
                    400: (
                        "bad_expiry",
                        "bad_filter",
                        "bad_embed_host",
                        "bad_name",
                        "forbidden_by_profile",
                        "unknown_country",
                        "unknown_dimension",
                        "unknown_segment",
                        "weak_password",
                    ),
                    404: ("unknown_site",),
                    409: ("too_many",),
                    503: ("busy",),
                },
                asks_store=True,
            ),
            Endpoint(
                method="DELETE",
                path="/api/v1/share-links/{link_id}",
                name="delete_share_link",
                summary="Revoke a share link, for good",
                tag="people",
                about="All servers know within a second.",
                action=MANAGE_LINKS,
                site=SiteFrom.HANDLER,
                handle=self.delete_link,
                parameters=(_LINK,),
                replies=(Reply(status=204, about="Revoked."),),
                errors={404: ("unknown_link",)},
                asks_store=True,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/share/open",
                name="open_share_link",
                summary="Open a share link",
                tag="people",
                about="What the link's page does.",
                action=PUBLIC,
                serve=self.open_link,
                body=Body(types=(Opening,), examples={"open": {"secret": "asl_unknown"}}),
                replies=(Reply(about="Opened.", type=Opened),),
                errors={
                    401: ("password_needed", "sign_in_failed"),
                    403: ("segment_gone",),
                    404: ("unknown_link", "unknown_site"),
                    429: ("too_many_attempts",),
                    503: ("busy",),
                },
                asks_store=True,
            ),
        ]

    async def list_links(self, call: Call[LinkList]) -> LinksAnswer:
        """A site's links."""
        await self._links.load()
        found = self._links.of_site(call.body.site_id)
        return LinksAnswer(share_links=[LinkInfo(**self._shown(each)) for each in found])

    async def create_link(self, call: Call[LinkRequest]) -> NewLink:
        """Make a link. Raises `RequestError`, `Conflict`."""
        wanted, site_id = call.body, site_id_of(call.body.site_id)
        _check_filters(wanted.filters)
        filters = tuple([operator, dimension, [*values]] for operator, dimension, values in wanted.filters)
        self._scopes.left_out(Narrowing(site_id=site_id, filters=filters))  # can they be asked?
        segment = await self._scopes.segment(site_id, wanted.segment) if wanted.segment else ("", "")
        if segment is None:
            raise RequestError(
                f"The site has no segment {wanted.segment!r}: GET /api/v1/segments lists them.", code="unknown_segment"
            )
        hosts = tuple(dict.fromkeys(map(_host, wanted.embed_hosts)))
        expires_at = moment_of(wanted.expires_at, self._links.now())
        if wanted.password and len(wanted.password) < LEAST_CHARS:
            raise RequestError(f"A link's password needs {LEAST_CHARS} characters.", code="weak_password")
        link, secret = await self._links.create(
            site_id,
            name=checked_name(wanted.name),
            filters=filters,
            segment=segment[0],
            threshold=wanted.threshold or 0,
            embed_hosts=hosts,
            password_hash=await self._passwords.hash(wanted.password) if wanted.password else "",
            expires_at=expires_at,
        )
        call.trail.resource = link.id
        return NewLink(**self._shown(link), link=self._link_of(call.request, secret))

    async def delete_link(self, call: Call[None]) -> None:
        """Revoke a link. Raises `NotFound`, also for one of a site that the caller does not cover."""
        await self._links.load()
        link = self._links.get(call.path("link_id"))
        if link is None or not call.caller.covers(link.site_id):
            raise NotFound("There is no share link of that id.", code="unknown_link")
        call.authorize(link.site_id)
        await self._links.delete(link.id)

    async def open_link(self, request: web.Request) -> web.StreamResponse:
        """Anyone with the link. Raises an `AnalyticsError`."""

        async def answer(trail: AuditTrail) -> web.Response:
            text = await read_within(request, SMALL_BODY.most_bytes, SMALL_BODY.too_large)
            asked: Opening = SMALL_BODY.decode(text, Opening)
            link = await self._opened(asked, self._client_of(request))
            caller = link.principal()
            trail.caller, trail.site_id = caller, link.site_id
            narrowing = caller.narrowed_by
            assert narrowing is not None, "a link's"
            opened = Opened(
                token=self._links.token_of(link, asked.secret),
                site_id=link.site_id,
                name=link.name,
                live=not narrowing.is_restricted,
                threshold=link.threshold or None,
                left_out=self._scopes.left_out(narrowing),
            )
            return json_response(opened, status=200)

        return await recorded(self._recorder, MANAGE_LINKS, "open_share_link", answer)

    async def _opened(self, asked: Opening, client: str) -> ShareLink:
        link = await self._links.find(asked.secret)
        if link is None:
            raise NotFound("The link is unknown, was revoked, or has ended.", code="unknown_link")
        if link.password_hash:
            if asked.password is None:
                raise Unauthorized("The link has a password: send it too.", code="password_needed")
            self._attempts.take(f"{link.id} {client}")
            if not await self._passwords.is_right(asked.password, link.password_hash):
                raise Unauthorized("The password is wrong.", code="sign_in_failed")
            self._attempts.forgive(f"{link.id} {client}")
        return link

    def _shown(self, link: ShareLink) -> dict[str, Any]:
        return {
            "link_id": link.id,
            "site_id": link.site_id,
            "name": link.name,
            "filters": link.filters,
            "segment": link.segment,
            "segment_name": self._scopes.segment_name(link.site_id, link.segment) if link.segment else None,
            "threshold": link.threshold or None,
            "embed_hosts": link.embed_hosts,
            "has_password": bool(link.password_hash),
            "expires_at": link.expires_at,
            "created_at_ms": link.created_at_ms,
        }


def _check_filters(filters: tuple[tuple[str, str, tuple[str, ...]], ...]) -> None:
    for index, (operator, dimension, values) in enumerate(filters):
        if operator not in OPERATORS or not FILTERED.fullmatch(dimension) or not values or len(values) > MOST_FILTERS:
            raise RequestError(
                f"filters[{index}] can't be fixed: use is, is_not, contains or contains_not of event:page, "
                f"event:hostname or a dimension of visits, with up to {MOST_FILTERS} values.",
                code="bad_filter",
            )


def _host(text: str) -> str:
    host = text.strip().lower()
    if not _HOST.fullmatch(host):
        raise RequestError(
            f"{text[:80]!r} is no host that may frame the link: write agency.example or *.agency.example.",
            code="bad_embed_host",
        )
    return host


def _asked_site(request: web.Request) -> LinkList:
    site_id = known_values(request, "site_id")["site_id"]
    if not site_id.strip():
        raise RequestError("Name the site: ?site_id=example.com.", code="bad_request")
    return LinkList(site_id=stored_site_id(site_id))
