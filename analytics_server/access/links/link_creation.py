"""Making share links, over HTTP and by command: what a link may show is checked before it is kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from analytics_server.access.links.share_links import ShareLinks
from analytics_server.access.people.parts import PersonName, checked_name, site_id_of
from analytics_server.access.people.passwords import MOST_CHARS, Passwords
from analytics_server.access.sites.site_settings import SiteId
from analytics_server.access.stored_link import ShareLink
from analytics_server.access.token_routes import Moment, Threshold, moment_of
from analytics_server.errors import RequestError
from analytics_server.http.authorization import Narrowing
from analytics_server.spelling.host_names import HOST_CHARS, encoded_host, is_label, readable_host

LEAST_CHARS = 8
MOST_HOSTS = 20
MOST_FILTERS = 20
FILTERED = re.compile(r"(event:(page|hostname)|visit:[a-z_]+)")
OPERATORS = frozenset({"is", "is_not", "contains", "contains_not"})
_PORT = re.compile(r":[0-9]{1,5}\Z")
_HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?")

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
    threshold: Threshold | None = None
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


class LinkScopes(Protocol):
    """What links show of what is saved and asked, which this package knows nothing of."""

    async def segment(self, site_id: str, id_or_name: str) -> tuple[str, str] | None:
        """Id and name of a saved segment of the site."""

    def segment_name(self, site_id: str, id_: str) -> str | None:
        """The name of the segment of that id, None if it is gone."""

    def left_out(self, narrowing: Narrowing) -> list[str]:
        """The dimensions that a link may not name. Raises `Forbidden` (segment_gone) or `RequestError` (bad_filter)."""


class LinkCreation:
    """Checks what a link should show, and makes it."""

    def __init__(self, links: ShareLinks, passwords: Passwords, scopes: LinkScopes) -> None:
        self._links = links
        self._passwords = passwords
        self._scopes = scopes

    async def create(self, wanted: LinkRequest) -> tuple[ShareLink, str]:
        """A new link and its secret. Raises `RequestError`, `NotFound` for the site, `Conflict`, or a store error."""
        site_id = site_id_of(wanted.site_id)
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
        return await self._links.create(
            site_id,
            name=checked_name(wanted.name),
            filters=filters,
            segment=segment[0],
            threshold=wanted.threshold or 0,
            embed_hosts=hosts,
            password_hash=await self._passwords.hash(wanted.password) if wanted.password else "",
            expires_at=expires_at,
        )

    def info(self, link: ShareLink) -> LinkInfo:
        """A link as it is shown."""
        return LinkInfo(**self.shown(link))

    def shown(self, link: ShareLink) -> dict[str, Any]:
        """The fields of `LinkInfo`."""
        return {
            "link_id": link.id,
            "site_id": link.site_id,
            "name": link.name,
            "filters": link.filters,
            "segment": link.segment,
            "segment_name": self._scopes.segment_name(link.site_id, link.segment) if link.segment else None,
            "threshold": link.threshold or None,
            "embed_hosts": tuple(map(readable_host, link.embed_hosts)),
            "has_password": bool(link.password_hash),
            "expires_at": link.expires_at,
            "created_at_ms": link.created_at_ms,
        }


def _check_filters(filters: Sequence[tuple[str, str, tuple[str, ...]]]) -> None:
    for index, (operator, dimension, values) in enumerate(filters):
        if operator not in OPERATORS or not FILTERED.fullmatch(dimension) or not values or len(values) > MOST_FILTERS:
            raise RequestError(
                f"filters[{index}] can't be fixed: use is, is_not, contains or contains_not of event:page, "
                f"event:hostname or a dimension of sessions, with up to {MOST_FILTERS} values.",
                code="bad_filter",
            )


def _host(text: str) -> str:
    """The host in ASCII, as `frame-ancestors` needs it; it may be written with letters of any script."""
    name = _PORT.sub("", text.strip())
    below = "*." if name.startswith("*.") else ""
    readable = readable_host(name.removeprefix("*."))
    is_name = len(readable) <= HOST_CHARS and all(map(is_label, readable.split(".")))
    host = f"{below}{encoded_host(readable)}{text.strip()[len(name) :]}" if is_name else ""
    if not _HOST.fullmatch(host):
        raise RequestError(
            f"{text[:80]!r} is no host that may frame the link: write agency.example or *.agency.example.",
            code="bad_embed_host",
        )
    return host
