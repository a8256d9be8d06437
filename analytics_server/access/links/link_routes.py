"""Share links over HTTP: `/api/v1/share-links` for admins of the site, and `/api/v1/share/open` for who has a link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import MANAGE_LINKS, excess
from analytics_server.access.links.link_creation import LinkCreation, LinkInfo, LinkRequest, LinkScopes
from analytics_server.access.links.public_sites import PUBLIC_ID
from analytics_server.access.links.share_links import ShareLinks
from analytics_server.access.people.attempts import SignInAttempts
from analytics_server.access.people.parts import Password, principal_of, recorded, site_id_of
from analytics_server.access.people.passwords import Passwords
from analytics_server.access.sites.sites import MOST_SENT_CHARS
from analytics_server.access.stored_link import ShareLink, link_grant
from analytics_server.access.token_routes import moment_of
from analytics_server.errors import Forbidden, NotFound, RequestError, Unauthorized
from analytics_server.http.answer import json_response
from analytics_server.http.audit import AuditTrail, Recorder
from analytics_server.http.authorization import PUBLIC
from analytics_server.http.body import SMALL_BODY, read_within
from analytics_server.http.declaration import SITE, Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.http.parameters import known_values
from analytics_server.model import stored_site_id

_ID = Annotated[str, Meta(pattern="^[0-9a-f]{12}$")]


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
    """The last part of a link's address, and its password if it has one. Of a public site: its id, in any spelling."""

    secret: Annotated[str, Meta(max_length=MOST_SENT_CHARS)]
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


class LinkRoutes:
    """Handlers for share links."""

    def __init__(
        self,
        links: ShareLinks,
        passwords: Passwords,
        attempts: SignInAttempts,
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
        self._creation = LinkCreation(links, passwords, scopes)
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
        return LinksAnswer(share_links=[*map(self._creation.info, found)])

    async def create_link(self, call: Call[LinkRequest]) -> NewLink:
        """Make a link. Raises `RequestError`, `Conflict`, `Forbidden` for what the caller may not do itself."""
        wanted = call.body
        ends = moment_of(wanted.expires_at, self._links.now())
        given, until_ms = [link_grant(site_id_of(wanted.site_id))], int(ends.timestamp() * 1000) if ends else 0
        if why := excess(principal_of(call), given, until_ms=until_ms):
            raise Forbidden(why)
        link, secret = await self._creation.create(wanted)
        call.trail.resource = link.id
        return NewLink(**self._creation.shown(link), link=self._link_of(call.request, secret))

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
            trail.in_background = link.id == PUBLIC_ID
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
            self._attempts.take(link.id, client)
            with self._attempts.excusing(link.id, client):
                is_right = await self._passwords.is_right(asked.password, link.password_hash)
            if not is_right:
                raise Unauthorized("The password is wrong.", code="sign_in_failed")
            self._attempts.forgive(link.id, client)
        else:
            self._attempts.opens_by_address.take(client)
        return link


def _asked_site(request: web.Request) -> LinkList:
    site_id = known_values(request, "site_id")["site_id"]
    if not site_id.strip():
        raise RequestError("Name the site: ?site_id=example.com.", code="bad_request")
    return LinkList(site_id=stored_site_id(site_id))
