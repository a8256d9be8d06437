"""The sites that a refused request is about, for its audit entry: of what was read of it, or lies there at once.

Constraint: only sites that the caller covers, so that an entry tells nobody of another's; a few of them, so that one
request fills no log; and none that a stranger has sent. A body that was not read, as the caller's role allows nothing,
is not waited for: a short one that has come is looked into.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
from aiohttp import web

from analytics_server.errors import AnalyticsError
from analytics_server.http.audit import SHOWN_CHARS, AuditTrail
from analytics_server.http.authorization import Caller
from analytics_server.http.body import read_within
from analytics_server.http.endpoint import Endpoint, InnerQuestion
from analytics_server.model import stored_site_id

SHORT_BYTES = 16_384
AT_ONCE_S = 0.2


MOST_NAMED = 10


class _Named(msgspec.Struct):
    site_id: str = ""
    sites: list[str] | None = None
    roles: dict[str, object] | None = None


_SITE_FIELDS = frozenset(_Named.__struct_fields__)


async def note_refused_site(
    trail: AuditTrail, caller: Caller, endpoint: Endpoint, request: web.Request, inner: InnerQuestion | None
) -> None:
    """Have the entry name the site that the query string or the body names, or one for each, unless it is known."""
    if trail.site_id or trail.sites:
        return
    named: list[str] = []
    if any(parameter.name == "site_id" for parameter in endpoint.parameters):
        given = request.query.getall("site_id", [])
        named = given if len(given) == 1 else []
    if not named and _has_sites(endpoint):
        named = _named_in(trail.body or (await _short_body(request) if inner is None else inner.body))
    sites = dict.fromkeys(stored_site_id(each) for each in named if len(each) <= SHOWN_CHARS)
    covered = [site for site in sites if site and caller.covers(site)][:MOST_NAMED]
    if len(covered) == 1:
        trail.site_id = covered[0]
    else:
        trail.sites = tuple(covered)


def _has_sites(endpoint: Endpoint) -> bool:
    types = () if endpoint.body is None else endpoint.body.types
    return any(not _SITE_FIELDS.isdisjoint(getattr(each, "__struct_fields__", ())) for each in types)


def _named_in(body: bytes) -> list[str]:
    try:
        found = msgspec.json.decode(body, type=_Named)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return [found.site_id, *(found.sites or ()), *(found.roles or ())]


async def _short_body(request: web.Request) -> bytes:
    """The body, if it is short and there."""
    if not 0 < (request.content_length or 0) <= SHORT_BYTES:
        return b""
    with contextlib.suppress(AnalyticsError, TimeoutError, OSError, web.RequestPayloadError):
        async with asyncio.timeout(AT_ONCE_S):
            return await read_within(request, SHORT_BYTES, "")
    return b""
